//! What keys and clicks mean. Pure: knows no keyboard, and does nothing itself.

/// A key, as far as the window cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// One that writes this character.
    Character(char),
    /// Escape.
    Escape,
}

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// One camera large, counted from 0; or all again when it is.
    Toggle(usize),
    /// All cameras.
    All,
    /// One step back: from the help, from one large camera, from the full screen.
    Back,
    /// The whole screen, or a window again.
    FullScreen,
    /// The picture that is shown, as a file.
    Snapshot,
    /// A recording begins, or ends.
    Record,
    /// More figures, or fewer.
    Details,
    /// Pictures stand still, or go on.
    Freeze,
    /// What the keys mean.
    Help,
    /// The end.
    Quit,
}

/// What the help says: keys, and what they do.
pub const HELP: [(&str, &str); 10] = [
    ("1 – 9, click", "enlarge a camera, or show all again"),
    ("0, Esc", "show all cameras"),
    ("F, double click", "full screen"),
    ("Space", "freeze the pictures, or go on"),
    ("S", "save the pictures shown as PNG"),
    ("R", "record, or stop recording"),
    ("D", "details of every camera"),
    ("H, ?", "this help"),
    ("Q", "quit"),
    ("", "A hatched picture is old: never steer by it."),
];

/// What a key means.
pub fn wish(key: Key) -> Option<Wish> {
    let character = match key {
        Key::Escape => return Some(Wish::Back),
        Key::Character(character) => character.to_ascii_lowercase(),
    };
    match character {
        '1'..='9' => Some(Wish::Toggle(character as usize - '1' as usize)),
        '0' => Some(Wish::All),
        'f' => Some(Wish::FullScreen),
        's' => Some(Wish::Snapshot),
        'r' => Some(Wish::Record),
        'd' => Some(Wish::Details),
        ' ' => Some(Wish::Freeze),
        'h' | '?' => Some(Wish::Help),
        'q' => Some(Wish::Quit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_help_says() {
        assert_eq!(wish(Key::Character('1')), Some(Wish::Toggle(0)));
        assert_eq!(wish(Key::Character('9')), Some(Wish::Toggle(8)));
        assert_eq!(wish(Key::Character('0')), Some(Wish::All));
        assert_eq!(wish(Key::Escape), Some(Wish::Back));
        assert_eq!(wish(Key::Character('x')), None);
        for (keys, _) in HELP {
            let named = keys.split(", ").filter(|key| key.chars().count() == 1);
            for key in named.filter_map(|key| key.chars().next()) {
                assert!(wish(Key::Character(key)).is_some(), "{key}");
            }
        }
    }
}
