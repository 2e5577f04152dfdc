//! The sender's tools, run as people run them: on a computer with nothing, on those with hardware
//! (played by twins), and on set-ups that are broken in one way each.

mod check;
mod devices;
mod doctor;
mod network;
mod pipeline;

use std::process::Command;

use anyhow::Context;
use rovercast_e2e::lab::{Folder, program};
use serde_json::Value;

type Outcome = anyhow::Result<()>;
type Environment = Vec<(String, String)>;

/// What a tool said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the sender with these arguments and variables.
fn tool(arguments: &[&str], environment: &Environment) -> anyhow::Result<Said> {
    let mut command = Command::new(program("rovercast-sender")?);
    said(command.args(arguments).envs(environment.iter().cloned()))
}

fn said(command: &mut Command) -> anyhow::Result<Said> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let out = String::from_utf8(output.stdout)?;
    let err = String::from_utf8(output.stderr)?;
    Ok(Said { code: output.status.code(), out, err })
}

impl Said {
    fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{}\n{}", self.out, self.err))
    }

    /// The doctor's findings by this name: severity, and text with remedy.
    fn findings(&self, check: &str) -> anyhow::Result<Vec<(String, String)>> {
        let json = self.json()?;
        let all = json["findings"].as_array().context("no findings")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let found = all.iter().filter(|finding| finding["check"] == check).map(|finding| {
            let told = format!("{} -> {}", text(&finding["text"]), text(&finding["remedy"]));
            (text(&finding["severity"]), told)
        });
        Ok(found.collect())
    }

    /// The only one of them.
    fn finding(&self, check: &str) -> anyhow::Result<(String, String)> {
        let mut found = self.findings(check)?;
        anyhow::ensure!(found.len() == 1, "{check}: {found:?} in\n{}", self.out);
        found.pop().context("none")
    }
}

/// A computer on which GStreamer has no plugin at all.
fn nothing(folder: &Folder) -> anyhow::Result<Environment> {
    let empty = folder.path().join("no-plugins");
    std::fs::create_dir_all(&empty)?;
    let variable =
        |name: &str, path: &std::path::Path| (name.to_owned(), path.display().to_string());
    Ok(vec![
        variable("GST_PLUGIN_PATH", &empty),
        variable("GST_PLUGIN_PATH_1_0", &empty),
        variable("GST_PLUGIN_SYSTEM_PATH", &empty),
        variable("GST_PLUGIN_SYSTEM_PATH_1_0", &empty),
        variable("GST_REGISTRY", &folder.path().join("no-plugins.bin")),
    ])
}

/// A computer with this hardware.
fn hardware(platform: &str) -> anyhow::Result<Environment> {
    Ok(rovercast_twins::place::environment(platform)?)
}

/// A config with one camera: its source, and what else is said of it.
fn config(folder: &Folder, source: &str, rest: &str) -> anyhow::Result<String> {
    let text =
        format!("[robot]\nid = \"rover\"\n[[camera]]\nid = \"front\"\nsource = {source}\n{rest}\n");
    folder.write("sender.toml", &text)
}
