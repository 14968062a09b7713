//! What an operation failed with, and what that says of it.

use crate::store::{StoreError, remote::Verdict};
use std::{error::Error, fmt};
use tokio_postgres::error::{Severity, SqlState};

/// An error of the client, told so that it says what to do, and without the values that were sent.
#[derive(Debug)]
pub(super) struct Failure(Kind);

#[derive(Debug)]
enum Kind {
    Server {
        code: SqlState,
        severity: Option<Severity>,
        message: String,
    },
    /// Nobody knows what the server made of the request, if it arrived.
    Connection(String),
    /// It never left, or its answer makes no sense: a fault of this library or of its tables.
    Client(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let said = || match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Self(match error.as_db_error() {
            Some(db) => Kind::Server {
                code: db.code().clone(),
                severity: db.parsed_severity(),
                // Not the detail, which repeats values.
                message: db.message().to_owned(),
            },
            None if error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) => {
                Kind::Connection(said())
            }
            None => Kind::Client(said()),
        })
    }
}

impl Failure {
    /// Of tables that cannot be used.
    pub(super) fn of_tables(why: String) -> Self {
        Self(Kind::Client(why))
    }

    fn code(&self) -> Option<&SqlState> {
        match &self.0 {
            Kind::Server { code, .. } => Some(code),
            Kind::Connection(_) | Kind::Client(_) => None,
        }
    }

    /// Whether tables or functions are missing that `migrate()` makes.
    pub(super) fn is_unmigrated(&self) -> bool {
        self.is(&[
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::UNDEFINED_COLUMN,
            SqlState::INVALID_SCHEMA_NAME,
        ])
    }

    /// Whether something of that name is there already, made by somebody else meanwhile.
    pub(super) fn is_duplicate(&self) -> bool {
        self.is(&[
            SqlState::DUPLICATE_TABLE,
            SqlState::DUPLICATE_OBJECT,
            SqlState::DUPLICATE_FUNCTION,
            SqlState::DUPLICATE_SCHEMA,
            SqlState::UNIQUE_VIOLATION,
        ])
    }

    /// Whether the server undid it only because somebody else was quicker: it may be made again at once.
    pub(super) fn is_collision(&self) -> bool {
        self.is(&[SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED])
    }

    /// Whether a pooler refused the settings that a connection should begin with.
    pub(super) fn is_refused_setting(&self) -> bool {
        self.is(&[SqlState::PROTOCOL_VIOLATION])
    }

    pub(super) fn verdict(&self) -> Verdict {
        match &self.0 {
            Kind::Connection(_) => Verdict::Broken,
            Kind::Client(_) => Verdict::Refused,
            Kind::Server { code, severity, .. } => {
                if *code == SqlState::CRASH_SHUTDOWN || *severity == Some(Severity::Panic) {
                    // Told from wherever the server just was, a commit's last step included.
                    Verdict::Broken
                } else if *severity == Some(Severity::Fatal) || code.code().starts_with("08") || ELSEWHERE.contains(code) {
                    Verdict::Unfit
                } else {
                    Verdict::Refused
                }
            }
        }
    }

    fn is(&self, codes: &[SqlState]) -> bool {
        self.code().is_some_and(|code| codes.contains(code))
    }
}

/// What another connection may not be told.
const ELSEWHERE: [SqlState; 6] = [
    // A standby, or a primary that was demoted.
    SqlState::READ_ONLY_SQL_TRANSACTION,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::TOO_MANY_CONNECTIONS,
    // What was prepared is gone or out of date: somebody between us and the server, or tables that were made anew.
    SqlState::INVALID_SQL_STATEMENT_NAME,
    SqlState::FEATURE_NOT_SUPPORTED,
];

impl From<Failure> for StoreError {
    /// For what certainly did not happen.
    fn from(failure: Failure) -> Self {
        Self::unavailable(failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Connection(said) | Kind::Client(said) => return f.write_str(said),
            Kind::Server { code, message, .. } => write!(f, "{message} (SQLSTATE {})", code.code())?,
        }
        if self.is_unmigrated() {
            f.write_str("; call PostgresStore::migrate() once, or run the SQL it names, and check schema and table prefix")?;
        } else if self.is(&[SqlState::INSUFFICIENT_PRIVILEGE]) {
            f.write_str("; grant SELECT, INSERT, UPDATE and DELETE on the session tables")?;
        }
        Ok(())
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, severity: Severity) -> Failure {
        Failure(Kind::Server { code: SqlState::from_code(code), severity: Some(severity), message: "no".to_owned() })
    }

    #[test]
    fn what_the_server_says_decides_between_refused_elsewhere_and_unknown() {
        for (code, severity, verdict) in [
            ("57014", Severity::Error, Verdict::Refused),
            ("55P03", Severity::Error, Verdict::Refused),
            ("53100", Severity::Error, Verdict::Refused),
            ("40001", Severity::Error, Verdict::Refused),
            ("40P01", Severity::Error, Verdict::Refused),
            ("42P01", Severity::Error, Verdict::Refused),
            ("25006", Severity::Error, Verdict::Unfit),
            ("57P01", Severity::Fatal, Verdict::Unfit),
            ("57P03", Severity::Fatal, Verdict::Unfit),
            ("57P05", Severity::Fatal, Verdict::Unfit),
            ("53300", Severity::Fatal, Verdict::Unfit),
            ("08006", Severity::Error, Verdict::Unfit),
            ("26000", Severity::Error, Verdict::Unfit),
            ("57P02", Severity::Warning, Verdict::Broken),
            ("XX000", Severity::Panic, Verdict::Broken),
        ] {
            assert_eq!(said(code, severity).verdict(), verdict, "{code}");
        }
        assert_eq!(Failure(Kind::Connection("connection closed".to_owned())).verdict(), Verdict::Broken);
    }

    #[test]
    fn a_failure_says_what_to_do_where_something_can_be_done() {
        assert!(said("42883", Severity::Error).to_string().starts_with("no (SQLSTATE 42883); call PostgresStore::migrate()"));
        assert!(said("42501", Severity::Error).to_string().contains("grant SELECT"));
        assert_eq!(said("53100", Severity::Error).to_string(), "no (SQLSTATE 53100)");
    }
}
