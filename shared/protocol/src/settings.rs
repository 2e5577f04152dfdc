//! Turning the text of a config file into typed settings, with an answer for every wrong line.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;

/// No file has more problems than this listed at once.
const MAX_PROBLEMS: usize = 20;

/// One thing wrong in a config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// The key, or the text of the line, then what is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of a value that parsed but cannot be: `key` as in `camera[2].fps`.
    pub fn value(key: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { line: None, message: format!("{key}: {remedy}") }
    }
}

/// Everything wrong in a config file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSettings {
    /// The file as the user named it.
    pub file: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            match problem.line {
                Some(line) => write!(f, "{separator}{}:{line}: {}", self.file, problem.message)?,
                None => write!(f, "{separator}{}: {}", self.file, problem.message)?,
            }
        }
        Ok(())
    }
}

/// Parses TOML. On failure every wrong line is reported, not only the first: a wrong line is
/// noted, taken out, and the rest read again. `file` is for the messages alone.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, InvalidSettings> {
    let mut rest = text.to_owned();
    let mut problems = Vec::new();
    let mut taken_out: Vec<Range<usize>> = Vec::new();
    while problems.len() < MAX_PROBLEMS {
        let error = match toml::from_str::<T>(&rest) {
            Ok(settings) if problems.is_empty() => return Ok(settings),
            Ok(_) => break,
            Err(error) => error,
        };
        let Some(span) = error.span() else {
            problems.push(Problem { line: None, message: error.message().to_owned() });
            break;
        };
        let line = first_line(&rest, &span);
        let missing = error.message().starts_with("missing field");
        let out = if missing { table(&rest, &line) } else { line.clone() };
        // A field that is missing because its line was taken out is no problem of its own.
        if !missing || !taken_out.iter().any(|taken| out.contains(&taken.start)) {
            problems.push(problem(text, &rest, &line, &error));
        }
        if rest[out.clone()].trim().is_empty() {
            break;
        }
        let blank: String =
            rest[out.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        rest.replace_range(out.clone(), &blank);
        taken_out.push(out);
    }
    problems.sort_by_key(|problem| problem.line);
    Err(InvalidSettings { file: file.to_owned(), problems })
}

fn problem(text: &str, rest: &str, range: &Range<usize>, error: &toml::de::Error) -> Problem {
    let line = text[..range.start].matches('\n').count() + 1;
    let source = rest[range.clone()].trim();
    let source = source.split_once(" #").map_or(source, |(code, _)| code.trim());
    let source = without_secret(source);
    let said = error.message().trim().replace('\n', ", ");
    Problem { line: Some(line), message: format!("`{source}`: {said}") }
}

/// Words in a line that may have a secret in it.
const SECRETS: [&str; 7] =
    ["credential", "secret", "password", "token", "passphrase", "key", "://"];

/// A line as it may stand in a log.
fn without_secret(line: &str) -> &str {
    match line.split_once('=') {
        Some((key, _)) if SECRETS.iter().any(|secret| line.contains(secret)) => key.trim(),
        _ => line,
    }
}

/// The first line that `span` touches, without its line end.
fn first_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let at = span.start.min(text.len());
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..end
}

/// The table whose header is at `line`, to the next header.
fn table(text: &str, line: &Range<usize>) -> Range<usize> {
    line.start..text[line.end..].find("\n[").map_or(text.len(), |next| line.end + next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[allow(dead_code)]
        name: String,
        #[serde(default)]
        #[allow(dead_code)]
        port: u16,
    }

    fn problems(text: &str) -> Vec<(Option<usize>, String)> {
        let error = parse::<Settings>("x.toml", text).unwrap_err();
        error.problems.into_iter().map(|p| (p.line, p.message)).collect()
    }

    #[test]
    fn every_wrong_line_is_named() {
        let found = problems("name = \"a\"\nprot = 1\nport = \"x\" # no\nprto = 2\n");
        let lines: Vec<_> = found.iter().filter_map(|(line, _)| *line).collect();
        assert_eq!(lines.len(), 3, "{found:?}");
        for (line, key, said) in
            [(2, "prot = 1", "expected"), (3, "port = \"x\"", "u16"), (4, "prto", "port")]
        {
            let message = &found.iter().find(|(l, _)| *l == Some(line)).unwrap().1;
            assert!(message.contains(key) && message.contains(said), "{message}");
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        let found = problems("port = 1\n");
        assert!(found[0].1.contains("name"), "{found:?}");
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_wrong_line_does_not_make_its_field_missing() {
        let found = problems("name = 7\nport = 1\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, Some(1));
    }

    #[test]
    fn secrets_are_not_repeated() {
        let found = problems("name = \"a\"\ncredential = \"hunter2\"\n");
        assert!(found[0].1.contains("credential") && !found[0].1.contains("hunter2"), "{found:?}");
        let found = problems("name = \"a\"\nsource = { passphrase = \"hunter2\" }\n");
        assert!(found[0].1.contains("source") && !found[0].1.contains("hunter2"), "{found:?}");
    }

    #[test]
    fn broken_toml_is_named_and_ends() {
        let found = problems("name = \"a\nport = = 3\n[[[\n");
        assert_eq!(found[0].0, Some(1), "{found:?}");
    }
}
