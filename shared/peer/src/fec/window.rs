//! The packets of a stream that came lately, and those that restore what is missing among them. Pure.

use std::collections::VecDeque;

use super::packet::Repair;

/// Packets that are kept: twice as many as one that restores can speak of, rounded up.
const KEPT: usize = 256;

/// Packets that restore and wait for others: what they protect is on its way, too.
const WAITING: usize = 16;

/// One stream.
#[derive(Debug)]
pub(super) struct Window {
    /// Each at its number's place.
    packets: Vec<Option<(u16, Vec<u8>)>>,
    waiting: VecDeque<Repair>,
}

impl Default for Window {
    fn default() -> Self {
        Self { packets: vec![None; KEPT], waiting: VecDeque::new() }
    }
}

impl Window {
    /// A packet came. False if it has been there already.
    pub(super) fn came(&mut self, sequence: u16, packet: &[u8]) -> bool {
        if self.packet(sequence).is_some() {
            return false;
        }
        self.packets[usize::from(sequence) % KEPT] = Some((sequence, packet.to_vec()));
        true
    }

    /// One came that may restore another.
    pub(super) fn repair(&mut self, repair: Repair) {
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(repair);
    }

    /// A packet that can be restored now. It is there from then on; to be asked until there is none.
    pub(super) fn restored(&mut self) -> Option<Vec<u8>> {
        while let Some((at, missing)) = self.useful() {
            let repair = self.waiting.remove(at)?;
            // None of a repair that does nothing any more.
            let Some(sequence) = missing else { continue };
            let others = repair.sequences.iter().filter(|other| **other != sequence);
            let others = others.filter_map(|other| self.packet(*other));
            if let Some(packet) = repair.restore(sequence, others) {
                self.came(sequence, &packet);
                return Some(packet);
            }
        }
        None
    }

    /// One of those that wait of which at most one packet is missing, and which; or which restores nothing
    /// any more.
    fn useful(&self) -> Option<(usize, Option<u16>)> {
        self.waiting.iter().enumerate().find_map(|(at, repair)| {
            let missing =
                repair.sequences.iter().filter(|sequence| self.packet(**sequence).is_none());
            let missing: Vec<u16> = missing.copied().collect();
            match missing[..] {
                [one] if !self.is_forgotten(one) => Some((at, Some(one))),
                [] => Some((at, None)),
                _ if missing.iter().any(|sequence| self.is_forgotten(*sequence)) => {
                    Some((at, None))
                }
                _ => None,
            }
        })
    }

    /// Whether a newer packet is kept in this one's place.
    fn is_forgotten(&self, sequence: u16) -> bool {
        let kept = self.packets[usize::from(sequence) % KEPT].as_ref();
        kept.is_some_and(|(kept, _)| (kept.wrapping_sub(sequence) as i16) > 0)
    }

    fn packet(&self, sequence: u16) -> Option<&[u8]> {
        let kept = self.packets[usize::from(sequence) % KEPT].as_ref();
        kept.filter(|(kept, _)| *kept == sequence).map(|(_, packet)| packet.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Header, protecting};
    use super::*;

    fn packet(sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 5, 0, 0, 0, 77]);
        packet.extend(vec![sequence as u8; 10 + usize::from(sequence % 5)]);
        packet
    }

    fn repair(sequences: &[u16]) -> Repair {
        let packets: Vec<Vec<u8>> = sequences.iter().copied().map(packet).collect();
        let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let header = Header::parse(&packets[0]).unwrap();
        Repair::parse(&protecting(header, &slices).unwrap()[12..]).unwrap()
    }

    fn come(window: &mut Window, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            let packet = packet(sequence);
            window.came(sequence, &packet);
        }
    }

    #[test]
    fn one_of_several_is_restored_in_whatever_order_they_come() {
        let mut window = Window::default();
        come(&mut window, [65_534, 0]);
        assert_eq!(window.restored(), None);
        window.repair(repair(&[65_534, 65_535, 0, 1]));
        assert_eq!(window.restored(), None, "two are missing");
        come(&mut window, [1]);
        assert_eq!(window.restored(), Some(packet(65_535)));
        assert_eq!(window.restored(), None);
        let late = packet(65_535);
        assert!(!window.came(65_535, &late), "it has been there");
    }

    #[test]
    fn what_is_restored_helps_to_restore_more() {
        let mut window = Window::default();
        come(&mut window, [10, 11]);
        window.repair(repair(&[11, 12, 13]));
        window.repair(repair(&[10, 12]));
        assert_eq!(window.restored(), Some(packet(12)));
        assert_eq!(window.restored(), Some(packet(13)));
    }

    #[test]
    fn it_forgets() {
        let mut window = Window::default();
        come(&mut window, 0..1000);
        let (kept, bytes) = window
            .packets
            .iter()
            .flatten()
            .fold((0, 0), |(n, bytes), (_, packet)| (n + 1, bytes + packet.len()));
        assert!(kept == KEPT && bytes < KEPT * 30);
        window.repair(repair(&[743, 744]));
        assert_eq!(window.restored(), None, "the first is forgotten, and the second stays");
        window.repair(repair(&[744, 745]));
        assert_eq!((window.restored(), window.waiting.len()), (None, 0), "nothing is missing");
        for sequence in 2000..2100 {
            window.repair(repair(&[sequence, sequence + 1]));
        }
        assert_eq!(window.waiting.len(), WAITING);
        come(&mut window, [2000]);
        assert_eq!(window.restored(), None);
        come(&mut window, [2099]);
        let restored = std::iter::from_fn(|| window.restored()).count();
        assert_eq!(restored, WAITING, "each helps the next");
    }
}
