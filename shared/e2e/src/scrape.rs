//! Figures of our programs as Prometheus gets them, read as strictly as the text format of OpenMetrics
//! is written.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::lab::{PATIENCE, Program};

/// One kind of figures.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// `gauge`, `counter` or `histogram`.
    pub kind: String,
    /// The labels of its figures, but for a histogram's own `le`.
    pub labels: BTreeSet<String>,
}

/// What was told at one moment.
#[derive(Debug, Default)]
pub struct Scrape {
    /// By name.
    pub families: BTreeMap<String, Family>,
    /// By name and labels, as they stand in the text.
    pub figures: BTreeMap<String, f64>,
}

/// Where a program says that its figures can be had: `HOST:PORT`.
pub fn address_of(program: &mut Program) -> anyhow::Result<String> {
    program.wait_for("address of its metrics", |line| {
        Some(line.strip_prefix("metrics on http://")?.strip_suffix("/metrics")?.to_owned())
    })
}

/// Gets the figures at an address, once.
pub async fn scrape(address: &str) -> anyhow::Result<Scrape> {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    });
    let answer = answer.await.context("no answer")??;
    let (head, page) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    ensure!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    parse(page).with_context(|| page.to_owned())
}

/// Reads a page. Whatever is not as the format says is an error.
pub fn parse(page: &str) -> anyhow::Result<Scrape> {
    let mut scrape = Scrape::default();
    let lines = page.strip_suffix("# EOF\n").context("the end is missing")?.lines();
    let mut family: Option<String> = None;
    let mut helped = None;
    for line in lines {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').with_context(|| line.to_owned())?;
            ensure!(is_name(name) && !text.is_empty(), "{line}");
            helped = Some(name);
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').with_context(|| line.to_owned())?;
            ensure!(helped == Some(name), "without help: {line}");
            ensure!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
            let new = Family { kind: kind.to_owned(), labels: BTreeSet::new() };
            ensure!(scrape.families.insert(name.to_owned(), new).is_none(), "twice: {line}");
            family = Some(name.to_owned());
        } else {
            let name = family.as_ref().with_context(|| format!("of no family: {line}"))?;
            let of = scrape.families.get_mut(name).context("no such family")?;
            let (figure, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let value: f64 = value.parse().with_context(|| line.to_owned())?;
            let (told, labels) = match figure.split_once('{') {
                Some((told, rest)) => (told, rest.strip_suffix('}').context("no }")?),
                None => (figure, ""),
            };
            let endings: &[&str] = match of.kind.as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let ending = told.strip_prefix(name.as_str()).unwrap_or("of another family");
            ensure!(endings.contains(&ending), "{line}");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (name, value) = label.split_once('=').with_context(|| line.to_owned())?;
                let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                let plain = inside.is_some_and(|inside| !inside.contains(['"', '\\']));
                ensure!(is_name(name) && plain, "{line}");
                if (ending, name) != ("_bucket", "le") {
                    of.labels.insert(name.to_owned());
                }
            }
            ensure!(scrape.figures.insert(figure.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    check_histograms(page, &scrape)?;
    Ok(scrape)
}

/// Each count holds those before it, and the last is the count of all.
fn check_histograms(page: &str, scrape: &Scrape) -> anyhow::Result<()> {
    let mut before = 0.0;
    for line in page.lines().filter(|line| line.contains("_bucket{")) {
        let (figure, value) = line.rsplit_once(' ').context("no value")?;
        let value: f64 = value.parse()?;
        ensure!(value >= before, "less than before: {line}");
        before = value;
        if figure.contains("le=\"+Inf\"") {
            let count = figure.replace("_bucket{le=\"+Inf\",", "_count{");
            ensure!(scrape.figures.get(&count) == Some(&value), "not all of them: {line}");
            before = 0.0;
        }
    }
    if before > 0.0 {
        bail!("a histogram without end");
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    !name.is_empty() && name.bytes().all(legal)
}
