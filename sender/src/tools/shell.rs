//! Launch lines as words of a shell. Pure.

/// A command that `sh` takes as it stands: each word that means something to a shell is quoted.
/// GStreamer's own quotes stay, since `gst-launch-1.0` parses its arguments once more.
pub fn command(program: &str, launch: &str) -> String {
    let words = words(launch).into_iter().map(|word| quoted(&simple(word)));
    [program.to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// A launch line split at the spaces outside of double quotes.
pub fn words(launch: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut inside, mut escaped) = (false, false);
    for c in launch.chars() {
        if c.is_whitespace() && !inside && !escaped {
            words.push(std::mem::take(&mut word));
            continue;
        }
        inside ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        word.push(c);
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Without GStreamer's quotes where nothing in them needs any.
fn simple(word: String) -> String {
    let plain = |value: &str| {
        !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match word.split_once("=\"").and_then(|(key, rest)| Some((key, rest.strip_suffix('"')?))) {
        Some((key, value)) if plain(value) => format!("{key}={value}"),
        _ => word,
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if word == "!" || word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_a_shell_is_quoted() {
        let launch =
            r#"a b="c  d" k="v-1" ! e(memory:NVMM),f=1  ! it's $x ! g h="\" ! i" ! j.sink_0"#;
        let shell = r#"run a 'b="c  d"' k=v-1 ! 'e(memory:NVMM),f=1' ! 'it'\''s' '$x' ! g 'h="\" ! i"' ! j.sink_0"#;
        assert_eq!(command("run", launch), shell);
    }
}
