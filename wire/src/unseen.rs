//! Characters that nobody sees: they hide in names and words, and turn what stands beside them round.

/// What no screen shows (Unicode's Default_Ignorable_Code_Point, interlinear marks, ends of lines that are none in mail, blanks that
/// count as letters), and control characters but blanks.
#[must_use]
pub const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{85}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
        | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2800}' | '\u{16fe4}' | '\u{1d159}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What has its business in a line that somebody reads: no control characters. What hearts and families are joined of (a device may
/// be called so) turns nothing round.
#[must_use]
pub fn is_harmless(c: char) -> bool {
    !c.is_control() && (!is_unseen(c) || matches!(c, '\u{200d}' | '\u{fe0f}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides() {
        for bad in [
            '\u{ad}',
            '\u{34f}',
            '\u{200b}',
            '\u{202e}',
            '\u{2028}',
            '\u{2060}',
            '\u{2069}',
            '\u{2800}',
            '\u{3164}',
            '\u{feff}',
            '\u{e0041}',
            '\x1b',
            '\t',
            '\u{85}',
            '\u{9b}',
        ] {
            assert!(!is_harmless(bad), "{}", bad.escape_unicode());
        }
        assert!("Grüße, 你好 – «a b» 🎂 \u{2764}\u{fe0f} \u{1f469}\u{200d}\u{1f467}".chars().all(is_harmless));
    }
}
