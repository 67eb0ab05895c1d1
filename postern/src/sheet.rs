//! What a parent reads: the sheet of a new mailbox, and what to type into a mail app.

use serde_json::{Value, json};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::told::Told;

/// A new mailbox and its secrets; shown once, kept nowhere.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Sheet {
    /// Mail address and login name.
    pub address: String,
    /// For the first mail app.
    pub device_password: String,
    /// For paper.
    pub recovery_words: Vec<String>,
}

impl std::fmt::Debug for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sheet").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Sheet {
    /// The object of `mailbox add --json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "address": self.address,
            "device_password": self.device_password,
            "recovery_words": self.recovery_words,
        })
    }

    /// Reads that object.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let words = value.get("recovery_words")?.as_array()?.iter().map(text).collect::<Option<Vec<_>>>()?;
        Some(Self {
            address: text(value.get("address")?)?,
            device_password: text(value.get("device_password")?)?,
            recovery_words: words,
        })
    }

    /// What to type into the first mail app.
    #[must_use]
    pub fn login(&self) -> String {
        login(&self.address, &self.device_password)
    }

    /// What to write on paper.
    #[must_use]
    pub fn paper(&self) -> String {
        let numbered = self.recovery_words.iter().enumerate().map(|(n, word)| format!("{:2}. {word:<10}", n + 1));
        let numbered: Vec<_> = numbered.collect();
        let rows: Vec<_> = numbered.chunks(4).map(|row| format!("    {}", row.join(" ").trim_end())).collect();
        format!(
            "Write these twelve words on paper and keep it where you keep passports. They alone give the mail of\n\
             {} back when all else is lost. They are shown this once, and nobody can make them again:\n\n{}\n",
            self.address,
            rows.join("\n"),
        )
    }

    /// All of it, in plain words.
    #[must_use]
    pub fn words(&self, told: &Told) -> String {
        format!(
            "The mailbox {0} is ready. Type this into its mail app; it is shown this once (each further phone\n\
             or computer gets a password of its own: postern device add {0} NAME):\n\n{1}{2}{3}\n{4}",
            self.address,
            told.servers(),
            self.login(),
            told.remarks(),
            self.paper(),
        )
    }
}

/// Name and password, as lines beside those of [`Told::servers`].
#[must_use]
pub fn login(address: &str, password: &str) -> String {
    format!("    login name             {address}\n    password               {password}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_sheet_is_read_back_and_says_everything() {
        let words: Vec<String> = (1..=12).map(|n| format!("word{n}")).collect();
        let sheet = Sheet { address: "a@b.test".into(), device_password: "abc-def".into(), recovery_words: words };
        let again = Sheet::from_json(&sheet.to_json()).unwrap();
        let said = again.words(&Told::planned(&Config::default()));
        for part in ["a@b.test", "abc-def", " 1. word1", "12. word12", "port 993, SSL/TLS", "port 587, STARTTLS"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(Sheet::from_json(&json!({"address": "a@b.test"})).is_none());
    }
}
