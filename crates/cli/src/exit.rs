//! How the program ends: every failure is one sentence and one of three codes, decided here.

use std::io;
use std::process::ExitCode;

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// Code 1: refused, or it failed. The sentence may be absent where the outcome has been printed already.
    Refused(Option<String>),
    /// Code 2: wrong usage.
    Usage(String),
    /// Code 3: something that is needed cannot be reached.
    Unreachable(String),
    /// Standard output could not be written. A reader who has seen enough (`| head`) is not a failure: code 0.
    Output(io::Error),
}

impl Failure {
    /// Code 1 with a sentence.
    pub fn refused(message: impl ToString) -> Self {
        Self::Refused(Some(message.to_string()))
    }

    /// Code 3 with a sentence.
    pub fn unreachable(message: impl ToString) -> Self {
        Self::Unreachable(message.to_string())
    }

    /// Say it on stderr and give the code.
    pub fn report(self) -> ExitCode {
        let (message, code) = match self {
            Self::Refused(message) => (message, 1),
            Self::Usage(message) => (Some(message), 2),
            Self::Unreachable(message) => (Some(message), 3),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => (None, 0),
            Self::Output(error) => (Some(format!("cannot write the output: {error}")), 1),
        };
        if let Some(message) = message {
            crate::say(&format!("error: {message}"));
        }
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
