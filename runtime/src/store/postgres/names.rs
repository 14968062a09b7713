//! Where the tables lie and how their names begin.

use crate::store::StoreError;
use std::fmt;

/// What the names in the shipped SQL begin with, and the default.
const DEFAULT_PREFIX: &str = "cloakroom_";

/// PostgreSQL cuts identifiers at 63 bytes, silently; the longest of ours, an index's, has 41 after the prefix.
const LONGEST_PREFIX: usize = 22;
const LONGEST_SCHEMA: usize = 63;

#[derive(Clone, Debug)]
pub(super) struct Names {
    schema: Option<String>,
    prefix: String,
}

impl Names {
    pub(super) fn new(schema: Option<String>, prefix: Option<String>) -> Result<Self, StoreError> {
        let prefix = prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        check("table prefix", &prefix, LONGEST_PREFIX, "cloakroom_")?;
        if let Some(schema) = &schema {
            check("schema", schema, LONGEST_SCHEMA, "auth")?;
        }
        Ok(Self { schema, prefix })
    }

    pub(super) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// SQL that speaks of `cloakroom_..`, speaking of these names instead.
    pub(super) fn sql(&self, text: &str) -> String {
        let mut parts = text.split(DEFAULT_PREFIX);
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !is_plain(c)).unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            sql.push_str(&self.name(name));
            sql.push_str(rest);
        }
        sql
    }

    fn name(&self, name: &str) -> String {
        match &self.schema {
            Some(schema) => format!("\"{schema}\".\"{}{name}\"", self.prefix),
            None => format!("\"{}{name}\"", self.prefix),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "the tables {schema}.{}*", self.prefix),
            None => write!(f, "the tables {}*", self.prefix),
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn check(what: &str, name: &str, longest: usize, example: &str) -> Result<(), StoreError> {
    if !name.is_empty() && name.len() <= longest && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(StoreError::unavailable(format!(
        "{name:?} cannot be the {what}: give 1 to {longest} ASCII letters, digits and underscores, as in {example:?}"
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(schema: Option<&str>, prefix: Option<&str>) -> Result<Names, StoreError> {
        Names::new(schema.map(str::to_owned), prefix.map(str::to_owned))
    }

    #[test]
    fn every_name_in_a_text_gets_schema_and_prefix() {
        let text = "SELECT 1 FROM cloakroom_record, cloakroom_cell_2;";
        assert_eq!(names(None, None).unwrap().sql(text), r#"SELECT 1 FROM "cloakroom_record", "cloakroom_cell_2";"#);
        let sql = names(Some("auth"), Some("Shop_")).unwrap().sql(text);
        assert_eq!(sql, r#"SELECT 1 FROM "auth"."Shop_record", "auth"."Shop_cell_2";"#);
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_what_to_give() {
        for (schema, prefix) in
            [(None, Some("a\"b")), (None, Some("")), (Some("a.b"), None), (None, Some("far_too_long_to_be_a_prefix_"))]
        {
            let error = names(schema, prefix).unwrap_err().to_string();
            assert!(error.contains("cannot be the") && error.contains("as in"), "{error}");
        }
    }
}
