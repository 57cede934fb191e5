use std::fmt;

/// Something wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct Problem {
    /// The file, or `playbook/NAME` for an object of the cluster.
    pub file: String,
    /// Line, from 1; 0 where there is none to point at.
    pub line: u64,
    /// Column, from 1; 0 where there is none to point at.
    pub column: u64,
    /// What is wrong: the field, what was expected, what was found, what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `file:line:col: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}
