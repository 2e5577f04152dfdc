//! Taking parameter sets out of access units in byte-stream format. No element.

/// The codec, as far as NAL units tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// H.264.
    H264,
    /// H.265.
    H265,
}

/// The access unit without parameter sets; `None` if it has none.
pub(crate) fn without_parameter_sets(unit: &[u8], codec: Codec) -> Option<Vec<u8>> {
    let starts = starts(unit);
    let ends = starts.iter().skip(1).copied().chain([unit.len()]);
    let mut rest = Vec::with_capacity(unit.len());
    for (start, end) in starts.iter().copied().zip(ends) {
        if !is_parameter_set(&unit[start..end], codec) {
            rest.extend_from_slice(&unit[start..end]);
        }
    }
    (rest.len() < unit.len()).then_some(rest)
}

/// Where the NAL units begin, each with its start code.
fn starts(unit: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    for (at, window) in unit.windows(3).enumerate() {
        if window == [0, 0, 1] {
            let long = at > 0 && unit[at - 1] == 0;
            starts.push(at - usize::from(long));
        }
    }
    starts
}

fn is_parameter_set(nal: &[u8], codec: Codec) -> bool {
    let header = nal.iter().position(|byte| *byte == 1).and_then(|one| nal.get(one + 1));
    header.is_some_and(|header| match codec {
        Codec::H264 => matches!(header & 0x1f, 7 | 8),
        Codec::H265 => matches!((header >> 1) & 0x3f, 32..=34),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameter_sets_go() {
        let unit = [0, 0, 0, 1, 0x67, 9, 9, 0, 0, 0, 1, 0x68, 8, 0, 0, 1, 0x65, 1, 2, 3];
        let rest = without_parameter_sets(&unit, Codec::H264).unwrap();
        assert_eq!(rest, [0, 0, 1, 0x65, 1, 2, 3]);
        assert_eq!(without_parameter_sets(&rest, Codec::H264), None);
        let unit = [0, 0, 0, 1, 0x40, 1, 0, 0, 1, 0x42, 1, 0, 0, 1, 0x44, 1, 0, 0, 1, 0x26, 1, 7];
        let rest = without_parameter_sets(&unit, Codec::H265).unwrap();
        assert_eq!(rest, [0, 0, 1, 0x26, 1, 7]);
    }
}
