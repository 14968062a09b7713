//! Every store on a server, against a real server that the tests start themselves.

mod redis;
