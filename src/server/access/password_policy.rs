//! Which passwords are good enough, and temporary ones that are.
//!
//! Length and guessability instead of character classes (NIST SP 800-63B): 12 to 256 characters, not among the common
//! ones, and hard to guess for somebody who knows the user's names. Pure functions; [`check`] takes milliseconds of
//! CPU, so calls go through the [`Hasher`](super::password::Hasher).

use secrecy::SecretString;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use zeroize::Zeroizing;
use zxcvbn::Score;

use crate::server::{
    error::{Error, Result},
    random::Random,
};

/// Fewest characters.
pub const MIN_CHARACTERS: usize = 12;
/// Most characters: enough for any sentence, and a bound on the work.
pub const MAX_CHARACTERS: usize = 256;
/// Characters that are scored. The score of a longer password is that of its beginning, because the time to score grows
/// much faster than the length.
const SCORED_CHARACTERS: usize = 100;
/// Longest of the names that are looked for, and how many.
const MAX_NAME_CHARACTERS: usize = 64;
const MAX_NAMES: usize = 64;

const COMMON: &str = include_str!("common_passwords.txt");

/// Refuses a password that is too short, too long, common or easy to guess. `field` is its JSON path; `names` are the
/// user's names and e-mail address.
pub fn check<S: AsRef<str>>(field: &str, password: &str, names: &[S]) -> Result<()> {
    // bounds the work of normalisation: 256 characters have fewer bytes than this in any spelling that keyboards make
    if password.len() > MAX_CHARACTERS * 16 {
        return Err(too_long(field));
    }
    let password: Zeroizing<String> = Zeroizing::new(password.nfkc().collect());
    match password.chars().count() {
        0..MIN_CHARACTERS => {
            let text =
                format!("The password is too short: use at least {MIN_CHARACTERS} characters, such as a few words.");
            return Err(Error::field(field, "password.min_len", text));
        }
        MIN_CHARACTERS..=MAX_CHARACTERS => {}
        _ => return Err(too_long(field)),
    }
    if is_common(&password) {
        return Err(Error::field(field, "password.common", "This password is among the first that attackers try."));
    }
    strong(field, &password, names)
}

fn too_long(field: &str) -> Error {
    let text = format!("The password is too long: use at most {MAX_CHARACTERS} characters.");
    Error::field(field, "password.max_len", text)
}

fn is_common(password: &str) -> bool {
    let folded = Zeroizing::new(password.to_lowercase());
    COMMON.lines().any(|line| line == folded.as_str())
}

fn strong<S: AsRef<str>>(field: &str, password: &str, names: &[S]) -> Result<()> {
    let scored: Zeroizing<String> = Zeroizing::new(password.chars().take(SCORED_CHARACTERS).collect());
    let known = known_words(names);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    // accents make no password: who knows the name tries it with and without
    let plain = Zeroizing::new(plain_letters(&scored));
    let weak = |text: &str| Some(zxcvbn::zxcvbn(text, &known)).filter(|entropy| entropy.score() < Score::Three);
    let other = || if *plain == *scored { None } else { weak(&plain) };
    let Some(entropy) = weak(&scored).or_else(other) else { return Ok(()) };
    let hints = entropy.feedback().map(|feedback| feedback.suggestions()).unwrap_or_default();
    let mut text = "The password is easy to guess.".to_owned();
    for hint in hints {
        text.push(' ');
        text.push_str(&hint.to_string());
    }
    Err(Error::field(field, "password.strength", text))
}

/// The text in the letters that a keyboard without accents has.
fn plain_letters(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)) {
        match c {
            'ł' => plain.push('l'),
            'Ł' => plain.push('L'),
            'ø' => plain.push('o'),
            'Ø' => plain.push('O'),
            'đ' | 'ð' => plain.push('d'),
            'Đ' | 'Ð' => plain.push('D'),
            'ħ' => plain.push('h'),
            'ı' => plain.push('i'),
            'æ' => plain.push_str("ae"),
            'Æ' => plain.push_str("AE"),
            'œ' => plain.push_str("oe"),
            'Œ' => plain.push_str("OE"),
            'þ' => plain.push_str("th"),
            'Þ' => plain.push_str("TH"),
            'ß' => plain.push_str("ss"),
            c => plain.push(c),
        }
    }
    plain
}

/// The names and their parts, since an e-mail address or a double name is seldom used as a whole; each as it is written,
/// and without accents.
fn known_words<S: AsRef<str>>(names: &[S]) -> Vec<String> {
    let mut words = vec!["chorus".to_owned()];
    for name in names {
        // composed first: a mark on its own is no letter, and would part the word
        let name: String = name.as_ref().nfkc().collect::<String>().to_lowercase();
        for word in std::iter::once(name.as_str()).chain(name.split(|c: char| !c.is_alphanumeric())) {
            let word: String = word.chars().take(MAX_NAME_CHARACTERS).collect();
            for word in [plain_letters(&word), word] {
                if word.chars().count() >= 3 && words.len() < MAX_NAMES && !words.contains(&word) {
                    words.push(word);
                }
            }
        }
    }
    words
}

/// Letters and digits that are not mistaken for each other when read aloud or from paper.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const TEMPORARY_CHARACTERS: usize = 20;

/// A random password for a user to replace, some 116 bits strong, that the policy accepts.
pub fn temporary<S: AsRef<str>>(random: &dyn Random, names: &[S]) -> SecretString {
    loop {
        let mut password = Zeroizing::new(String::with_capacity(TEMPORARY_CHARACTERS));
        while password.len() < TEMPORARY_CHARACTERS {
            let mut byte = [0];
            random.fill(&mut byte);
            // larger values would favour the first letters
            let fair = u8::MAX as usize / ALPHABET.len() * ALPHABET.len();
            if (byte[0] as usize) < fair {
                password.push(ALPHABET[byte[0] as usize % ALPHABET.len()] as char);
            }
        }
        if check("", &password, names).is_ok() {
            return SecretString::from(password.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::server::random::SeededRandom;

    fn rule(password: &str, names: &[&str]) -> Option<&'static str> {
        let error = check("user.password", password, names).err()?;
        let detail = crate::server::error::detail(&error.into_status("/")).unwrap();
        assert_eq!(detail.validation_errors[0].field, "user.password");
        let rules = ["password.min_len", "password.max_len", "password.common", "password.strength"];
        rules.into_iter().find(|rule| *rule == detail.validation_errors[0].reason)
    }

    #[test]
    fn good_passwords_pass() {
        for good in [
            "a heron eats wet clocks",
            "vT9#kq2LmZx4",
            "grünes Känguru im Nebel",
            "星の下で静かに眠る鯨の歌声",
            "nJ4 wq8 zRt 5pl",
        ] {
            assert_eq!(rule(good, &["Ada", "Lovelace", "ada@example.org"]), None, "{good}");
        }
        let long: String = temporary(&SeededRandom::new(1), &[""]).expose_secret().repeat(13)[..256].to_owned();
        assert_eq!(rule(&long, &[]), None);
    }

    #[test]
    fn bad_passwords_name_the_rule() {
        for (bad, names, expected) in [
            ("", &[][..], "password.min_len"),
            ("vT9#kq2LmZx", &[], "password.min_len"),
            ("ééééééééééé", &[], "password.min_len"),
            ("administrator", &[], "password.common"),
            ("CorrectHorseBatteryStaple", &[], "password.common"),
            ("passwordpassword", &[], "password.common"),
            ("aaaaaaaaaaaaaaaa", &[], "password.strength"),
            ("abcdefghijklmnopqr", &[], "password.strength"),
            ("lovelacelovelace1815", &["Ada", "Lovelace"], "password.strength"),
            ("chorus-chorus-1", &[], "password.strength"),
        ] {
            assert_eq!(rule(bad, names), Some(expected), "{bad}");
        }
        assert_eq!(rule(&"k7 Vq".repeat(60), &[]), Some("password.max_len"));
        assert_eq!(rule(&"x".repeat(1_000_000), &[]), Some("password.max_len"));
    }

    #[test]
    fn names_count_against_a_password() {
        let password = "wolkensteinarquette";
        assert_eq!(rule(password, &[]), None);
        assert_eq!(rule(password, &["Wolkenstein Arquette"]), Some("password.strength"));
        assert_eq!(rule(password, &["wolkenstein.arquette@example.org"]), Some("password.strength"));
    }

    #[test]
    fn accents_hide_no_name() {
        for (password, name) in [
            ("wölkénsteinärquètte", "Wolkenstein Arquette"),
            ("wolkensteinarquette", "Wölkénstein Ärquètte"),
            ("wo\u{308}lkensteinarquette", "Wo\u{308}lkenstein Arquette"),
            ("łaskawoświdnicka", "Laskawo Swidnicka"),
            ("laskawoswidnicka", "Łaskawo Świdnicka"),
            ("sørensenkjærgaard", "Sorensen Kjaergaard"),
            ("strassenmeyerweissmuller", "Straßenmeyer Weißmüller"),
        ] {
            assert_eq!(rule(password, &[name]), Some("password.strength"), "{password} {name}");
        }
        assert_eq!(plain_letters("Łódź Ærø Þór Straße ñandú 星の下 ΑΩά"), "Lodz AEro THor Strasse nandu 星の下 ΑΩα");
    }

    #[test]
    fn the_refusal_does_not_repeat_the_password() {
        let error = check("password", "hunter2hunter2", &["x"]).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }

    #[test]
    fn common_passwords_are_listed_as_they_are_compared() {
        assert!(COMMON.lines().count() >= 100);
        for line in COMMON.lines() {
            assert_eq!(line, line.trim().to_lowercase());
            assert!(line.chars().count() >= MIN_CHARACTERS, "{line} is refused for its length already");
        }
    }

    #[test]
    fn temporary_passwords_are_accepted_and_differ() {
        let random = SeededRandom::new(7);
        let (a, b) = (temporary(&random, &["ada"]), temporary(&random, &["ada"]));
        for password in [&a, &b] {
            let text = password.expose_secret();
            assert_eq!(text.len(), TEMPORARY_CHARACTERS);
            assert!(text.bytes().all(|byte| ALPHABET.contains(&byte)));
            assert_eq!(rule(text, &["ada"]), None);
        }
        assert_ne!(a.expose_secret(), b.expose_secret());
        assert!(!ALPHABET.iter().any(|byte| b"0O1lIo".contains(byte)));
    }
}
