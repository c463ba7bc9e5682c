//! QR codes on a terminal, two modules a character.

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

/// Black on white, whatever colours the terminal has otherwise: not every camera reads the reverse.
const COLOURS: (&str, &str) = ("\x1b[38;5;16;48;5;231m", "\x1b[0m");

/// The text as a QR code; none if it is too long for one. With colours for a terminal, without them for anything else,
/// where the page is taken to be white.
pub fn render(text: &str, colours: bool) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let picture = code.render::<Dense1x2>().quiet_zone(true).build();
    let (before, after) = if colours { COLOURS } else { ("", "") };
    Some(picture.lines().map(|line| format!("{before}{line}{after}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "otpauth://totp/chorus:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=chorus";

    #[test]
    fn a_picture_fits_a_terminal() {
        let picture = render(URI, false).unwrap();
        let widths: Vec<_> = picture.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width < 80), "{widths:?}");
        assert!(widths.len() <= widths[0] / 2 + 1, "about square");
        let lines: Vec<_> = picture.lines().collect();
        assert!(lines[0].trim().is_empty(), "a white border");
        // the finder pattern in the corner: a full line on top
        assert!(lines[2].trim_start().starts_with("█▀▀▀▀▀█"), "{}", lines[2]);
    }

    #[test]
    fn a_terminal_gets_colours_on_every_line() {
        let picture = render(URI, true).unwrap();
        assert!(picture.lines().all(|line| line.starts_with(COLOURS.0) && line.ends_with(COLOURS.1)));
    }

    #[test]
    fn too_long_is_no_picture() {
        assert_eq!(render(&"x".repeat(5000), false), None);
    }
}
