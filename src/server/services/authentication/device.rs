//! What a session runs on, in words that its owner recognises.
//!
//! A user agent is whatever the client says, and browsers claim to be each other: the names are looked for from the most
//! particular to the most common one. Nothing is decided by it.

/// Marks of browsers and their names. Nearly all claim to be Safari, and many to be Chrome.
const BROWSERS: [(&str, &str); 13] = [
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Marks of systems and their names. Android claims to be Linux, an iPhone to be like Mac OS X.
const SYSTEMS: [(&str, &str); 8] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// Our own command line calls itself this.
const COMMAND_LINE: &str = "chorus/";
/// So many characters of a program that is not known.
const MOST_CHARACTERS: usize = 40;

/// `Firefox on Linux`, `chorus command line`, `curl`; `unknown` for who says nothing.
pub fn name(user_agent: &str) -> String {
    if user_agent.starts_with(COMMAND_LINE) {
        return "chorus command line".to_owned();
    }
    let find = |marks: &[(&str, &'static str)]| {
        marks.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => program(user_agent),
    }
}

/// The first name, without its version.
fn program(user_agent: &str) -> String {
    let first = user_agent.split(|c: char| c == '/' || c.is_whitespace() || c.is_control()).next().unwrap_or_default();
    match first.chars().take(MOST_CHARACTERS).collect::<String>() {
        name if name.is_empty() => "unknown".to_owned(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        for (user_agent, device) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/138.0 Mobile/15E148 Safari/604.1",
                "Chrome on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
                "Chrome on ChromeOS",
            ),
            ("chorus/0.1.0 tonic/0.14.0", "chorus command line"),
            ("curl/8.14.1", "curl"),
            ("python-requests/2.32 Linux", "python-requests"),
            ("", "unknown"),
            ("/", "unknown"),
            ("\u{1b}[31mred", "unknown"),
        ] {
            assert_eq!(name(user_agent), device, "{user_agent}");
        }
        assert_eq!(name(&"é".repeat(300)).chars().count(), 40);
    }
}
