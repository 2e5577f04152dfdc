//! Which access units may pass after a gap.

/// After a gap in the access units nothing passes before the next key frame: what refers to a
/// frame that is missing would show as a torn picture.
#[derive(Debug, Default)]
pub struct KeyFrameGate {
    closed: bool,
}

impl KeyFrameGate {
    /// Whether this access unit passes.
    pub fn passes(&mut self, follows_gap: bool, key_frame: bool) -> bool {
        self.closed = !key_frame && (self.closed || follows_gap);
        !self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_closes_until_the_next_key_frame() {
        let mut gate = KeyFrameGate::default();
        let units = [
            (false, true),
            (false, false),
            (true, false),
            (false, false),
            (false, true),
            (false, false),
        ];
        let passed: Vec<bool> = units.iter().map(|&(gap, key)| gate.passes(gap, key)).collect();
        assert_eq!(passed, [true, true, false, false, true, true]);
        assert!(gate.passes(true, true), "a key frame after a gap needs nothing before it");
    }
}
