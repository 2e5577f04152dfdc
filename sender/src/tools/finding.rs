//! What a tool has found out: how bad it is, and what helps. Pure.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Pictures may come, but something is doubtful.
    Warn,
    /// No pictures come by it.
    Fail,
}

/// One thing that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a name that stays the same from version to version, for programs.
    pub check: &'static str,
    /// The camera that it is about, if it is about one.
    pub camera: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, for people.
    pub text: String,
    /// What helps.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, camera: None, severity: Severity::Ok, text: text.into(), remedy: None }
    }

    /// Something is doubtful; `remedy` says what helps.
    pub fn warn(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warn, remedy: Some(remedy.into()), ..Self::ok(check, text) }
    }

    /// Something is broken; `remedy` says what helps.
    pub fn fail(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Fail, ..Self::warn(check, text, remedy) }
    }

    /// About this camera.
    pub fn of(self, camera: impl fmt::Display) -> Self {
        Self { camera: Some(camera.to_string()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Ok => "ok  ",
            Severity::Warn => "WARN",
            Severity::Fail => "FAIL",
        };
        write!(f, "{severity}  {}", self.check)?;
        if let Some(camera) = &self.camera {
            write!(f, " [{camera}]")?;
        }
        write!(f, ": {}", self.text)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "\n      -> {remedy}")?;
        }
        Ok(())
    }
}

/// How bad the worst of them is.
pub fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_the_remedy_is_told() {
        let ok = Finding::ok("cpu", "4 cores");
        let fail = Finding::fail("device", "/dev/video0 is not there", "plug it in").of("front");
        assert_eq!(worst(&[]), Severity::Ok);
        assert_eq!(worst(&[ok.clone(), fail.clone(), ok]), Severity::Fail);
        let text = "FAIL  device [front]: /dev/video0 is not there\n      -> plug it in";
        assert_eq!(fail.to_string(), text);
    }
}
