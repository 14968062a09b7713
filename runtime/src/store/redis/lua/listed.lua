-- Some names of the index KEYS[1]. ARGV: where to go on in it, how many entries to look at. Answers where to go on, and the names.
local refusal = demoted()
if refusal then return refusal end
return { page(take(), take()) }
