//! [`Texts`]: the texts of a token in one allocation.

/// A few texts, each there or not.
#[derive(Clone)]
pub(crate) struct Texts<const N: usize> {
    all: Box<str>,
    /// Where each ends, which is where the next begins.
    ends: [u32; N],
    /// A bit for each.
    present: u32,
}

impl<const N: usize> Texts<N> {
    /// Of texts that are a part of a token, and so far below 4 GiB together.
    pub(crate) fn new(texts: [Option<&str>; N]) -> Self {
        let mut all = String::with_capacity(texts.iter().flatten().map(|text| text.len()).sum());
        let (mut ends, mut present) = ([0; N], 0);
        for (at, text) in texts.into_iter().enumerate() {
            if let Some(text) = text {
                all.push_str(text);
                present |= 1 << at;
            }
            ends[at] = u32::try_from(all.len()).unwrap_or(u32::MAX);
        }
        Self { all: all.into_boxed_str(), ends, present }
    }

    pub(crate) fn get(&self, at: usize) -> Option<&str> {
        if self.present & 1 << at == 0 {
            return None;
        }
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.all.get(begin as usize..self.ends[at] as usize)
    }

    /// Of all of them, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_got_as_it_was_given() {
        for given in [
            [None, None, None],
            [Some(""), None, Some("")],
            [Some("a"), None, Some("bc")],
            [None, Some("ä"), None],
            [Some("abc"), Some(""), Some("d e")],
        ] {
            let texts = Texts::new(given);
            for (at, text) in given.into_iter().enumerate() {
                assert_eq!(texts.get(at), text, "{given:?} {at}");
            }
            assert_eq!(texts.len(), given.iter().flatten().map(|text| text.len()).sum::<usize>());
        }
    }
}
