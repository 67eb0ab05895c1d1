//! Secrets a command is given: lines of standard input, or typed at a terminal that does not show them. Never an
//! argument: other users of the machine see those.

use std::io::{self, BufRead, Write};

use filter_sandbox::signals::{Came, Held};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use spool::keys::Words;
use zeroize::Zeroizing;

use crate::failure::{Doing, Failure};

/// Bytes of one line of secrets; twelve words have at most 107.
const LINE: usize = 1_024;

/// Standard input as a source of secrets.
#[derive(Debug)]
pub struct Secrets {
    passphrase: Option<Zeroizing<String>>,
}

impl Secrets {
    /// Reads the box's passphrase first, when there is one.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn new(passphrase: bool) -> Result<Self, Failure> {
        let passphrase = if passphrase { Some(next("The box's passphrase: ")?) } else { None };
        Ok(Self { passphrase })
    }

    /// The box's passphrase.
    #[must_use]
    pub fn passphrase(&self) -> Option<&str> {
        self.passphrase.as_ref().map(|line| line.as_str())
    }

    /// The code of a proxy's operator.
    ///
    /// # Errors
    /// In words for the admin.
    pub fn pairing_code(&mut self) -> Result<Zeroizing<String>, Failure> {
        next("The code, as the proxy's operator gave it: ")
    }

    /// A secret that opens `address`.
    ///
    /// # Errors
    /// In words for the admin; without a terminal `from_stdin` must have been asked for.
    pub fn unlock(&mut self, address: &str, from_stdin: bool) -> Result<Zeroizing<String>, Failure> {
        if !from_stdin && !rustix::termios::isatty(io::stdin()) {
            return Err(Failure::new(format!(
                "this needs a secret of {address} (a device password, or the recovery words): \
                 run it at a terminal, or give it with --unlock-stdin"
            )));
        }
        secret(&format!("A device password of {address}, or its recovery words: "))
    }

    /// What a mail app would be given: the recovery words open no connection.
    ///
    /// # Errors
    /// As [`Self::unlock`].
    pub fn device_password(&mut self, address: &str, from_stdin: bool) -> Result<Zeroizing<String>, Failure> {
        if !from_stdin && !rustix::termios::isatty(io::stdin()) {
            return Err(Failure::new(format!(
                "this needs a device password of {address}: run it at a terminal, or give it with --unlock-stdin"
            )));
        }
        next(&format!("A device password of {address}: "))
    }

    /// Sets of recovery words, one a line or in the rows that they are printed in, until the end of input (at a terminal:
    /// one set).
    ///
    /// # Errors
    /// In words for the admin.
    pub fn words(&mut self, from_stdin: bool) -> Result<Vec<Zeroizing<String>>, Failure> {
        if !from_stdin {
            if !rustix::termios::isatty(io::stdin()) {
                return Err(Failure::new("run this at a terminal, or give the recovery words with --words-stdin"));
            }
            return secret("The twelve recovery words (or another secret of the mailbox): ").map(|secret| vec![secret]);
        }
        let mut all = Vec::new();
        while let Some(line) = line(None)? {
            if !line.trim().is_empty() {
                all.push(line);
            }
        }
        if all.is_empty() { Err(Failure::new("standard input holds no recovery words")) } else { Ok(joined(all)) }
    }
}

/// Twelve words that came in several lines become one secret.
fn joined(lines: Vec<Zeroizing<String>>) -> Vec<Zeroizing<String>> {
    let (mut all, mut rows) = (Vec::new(), Vec::new());
    for line in lines {
        if is_device_password(&line) || words_in(&line).is_none_or(|count| count >= Words::COUNT) {
            all.append(&mut rows);
            all.push(line);
            continue;
        }
        rows.push(line);
        let count: usize = rows.iter().filter_map(|row| words_in(row)).sum();
        if count == Words::COUNT {
            let mut whole = Zeroizing::new(String::with_capacity(rows.iter().map(|row| row.len() + 1).sum()));
            for row in rows.drain(..) {
                whole.push_str(&row);
                whole.push(' ');
            }
            all.push(whole);
        } else if count > Words::COUNT {
            all.append(&mut rows);
        }
    }
    all.append(&mut rows);
    all
}

/// Whether a line is a device password, written with blanks: five groups of five letters. (As good as never are five recovery words
/// that long, and written so.)
fn is_device_password(line: &str) -> bool {
    let is_group = |token: &str| token.len() == 5 && token.bytes().all(|byte| byte.is_ascii_alphabetic());
    line.split_ascii_whitespace().count() == 5 && line.split_ascii_whitespace().all(is_group)
}

/// How many words a line has, if it has nothing else but their numbers: device passwords have more.
fn words_in(line: &str) -> Option<usize> {
    let is_number = |token: &str| token.trim_end_matches('.').bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |token: &str| token.bytes().all(|byte| byte.is_ascii_alphabetic());
    line.split(|c: char| c.is_ascii_whitespace() || c == ',' || c == ';')
        .filter(|token| !token.is_empty())
        .try_fold(0, |count, token| if is_word(token) { Some(count + 1) } else { is_number(token).then_some(count) })
}

/// Whether a line has come along with copied words: a blank one, or their heading.
fn is_beside(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.ends_with(':')
}

/// One line; at a terminal with a question and without showing it.
fn next(question: &str) -> Result<Zeroizing<String>, Failure> {
    needed(line(Prompt::new(question)?.as_ref()))
}

/// As [`next`], but recovery words are taken in whatever rows they come.
fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    let prompt = Prompt::new(question)?;
    // One word is a row where somebody types; a program that keeps its end open waits for the answer to it.
    let row = if prompt.is_some() { 1 } else { 2 };
    let mut rows = Zeroizing::new(String::with_capacity(LINE));
    let mut next = Some(needed(line(prompt.as_ref()))?);
    while let Some(line_of_them) = next {
        if prompt.is_some() && is_beside(&line_of_them) {
            next = line(prompt.as_ref())?;
            continue;
        }
        if rows.len() + line_of_them.len() >= LINE {
            return Err(too_long());
        }
        let is_all = rows.is_empty() && is_device_password(&line_of_them);
        rows.push_str(&line_of_them);
        if is_all {
            break;
        }
        let Some(count) = words_in(&rows).filter(|count| (row..Words::COUNT).contains(count)) else { break };
        if let Some(prompt) = &prompt {
            prompt.ask(&format!("{count} of the {} words, the others (Ctrl-C to end): ", Words::COUNT));
        }
        rows.push(' ');
        next = line(prompt.as_ref())?;
    }
    Ok(rows)
}

/// A terminal that does not show what is typed; it does again when this is dropped.
struct Prompt<'a> {
    question: &'a str,
    /// Whatever ends this command does so once the terminal shows again what is typed.
    held: Held,
    shown: Termios,
}

impl<'a> Prompt<'a> {
    /// Asks; `None`: standard input is no terminal.
    fn new(question: &'a str) -> Result<Option<Self>, Failure> {
        let Ok(shown) = rustix::termios::tcgetattr(io::stdin()) else { return Ok(None) };
        let held = Held::new().doing(|| "cannot hold signals back".to_owned())?;
        let prompt = Self { question, held, shown };
        prompt.ask(question);
        prompt.hide();
        Ok(Some(prompt))
    }

    fn ask(&self, question: &str) {
        eprint!("{question}");
        let _ = io::stderr().flush();
    }

    fn hide(&self) {
        let mut hidden = self.shown.clone();
        // Ctrl-C would leave a terminal that shows nothing any more: here it ends the line instead, and then the command.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VEOL] = self.interrupts();
        hidden.local_modes.insert(LocalModes::ECHONL);
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &hidden);
    }

    /// What was typed and not read is thrown away: a shell would show it, run it, and write it down.
    fn show(&self) {
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.shown);
    }

    /// Waits for a line. `false`: a signal ends all.
    fn waits(&self) -> Result<bool, Failure> {
        let what = || "cannot read standard input".to_owned();
        loop {
            match self.held.wait(io::stdin()).doing(what)? {
                Came::Input => return Ok(true),
                Came::End => return Ok(false),
                Came::Stop => {
                    self.show();
                    self.held.stop().doing(what)?;
                    self.ask(self.question);
                    self.hide();
                }
            }
        }
    }

    /// The key that ends the command.
    fn interrupts(&self) -> u8 {
        self.shown.special_codes[SpecialCodeIndex::VINTR]
    }
}

impl Drop for Prompt<'_> {
    fn drop(&mut self) {
        self.show();
    }
}

fn too_long() -> Failure {
    Failure::new("a line of standard input is too long for a secret")
}

fn needed(read: Result<Option<Zeroizing<String>>, Failure>) -> Result<Zeroizing<String>, Failure> {
    read?.ok_or_else(|| Failure::new("standard input ended before the secret came"))
}

/// One line without its end; `None` at the end of input. At a terminal a key ends all, or a signal.
fn line(terminal: Option<&Prompt<'_>>) -> Result<Option<Zeroizing<String>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LINE));
    let (mut input, what) = (io::stdin().lock(), || "cannot read standard input".to_owned());
    let interrupted = || Err(Failure::new("interrupted"));
    loop {
        // A terminal gives a line at a time, and all of it is taken: nothing else is left of what was read before.
        if let Some(prompt) = terminal
            && !prompt.waits()?
        {
            return interrupted();
        }
        let available = input.fill_buf().doing(what)?;
        if available.is_empty() && bytes.is_empty() {
            return Ok(None);
        }
        if terminal.is_some_and(|prompt| available.contains(&prompt.interrupts())) {
            return interrupted();
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(available.len());
        if bytes.len() + taken > LINE {
            return Err(too_long());
        }
        bytes.extend_from_slice(&available[..taken]);
        let over = end.is_some() || available.is_empty();
        input.consume(taken + usize::from(end.is_some()));
        if over {
            let text = std::str::from_utf8(&bytes).doing(|| "standard input is not UTF-8".to_owned())?;
            return Ok(Some(Zeroizing::new(text.trim_end_matches('\r').to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        let read = lines.iter().map(|line| Zeroizing::new((*line).to_owned())).collect();
        joined(read).into_iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn words_come_in_a_line_in_rows_or_one_by_one() {
        let (row, whole) = ("legal winner thank year", "legal winner thank year ".repeat(3));
        assert_eq!(lines(&[&whole, "abcd-efgh", &whole]), [whole.trim(), "abcd-efgh", whole.trim()]);
        let printed = ["  1. legal  2. winner  3. thank  4. year", row, row];
        assert_eq!(
            lines(&printed),
            ["1. legal 2. winner 3. thank 4. year legal winner thank year legal winner thank year"]
        );
        assert_eq!(lines(&[row; 6]), [whole.trim(); 2]);
        assert_eq!(lines(&whole.split_whitespace().collect::<Vec<_>>()), [whole.trim()]);
        assert_eq!(lines(&[row, "abcd-efgh", row, row]), [row, "abcd-efgh", row, row], "nothing is lost");
        let password = "rzvph yeuzm ghgsd kzmab mqwpw";
        assert_eq!(lines(&[password, row, row, row]), [password, whole.trim()], "one with blanks is no row");
        assert_eq!(lines(&[row, row, "a b c d e"]), [row, row, "a b c d e"]);
        let listed = "legal, winner; thank ,year,";
        assert_eq!(lines(&[listed; 3]), [[listed; 3].join(" ")]);
    }
}
