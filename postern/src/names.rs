//! Domains and addresses as the admin types them.

/// Lower-cases and checks a domain or host name (RFC 1035 §2.3.4 lengths, letters, digits and inner hyphens); one beyond ASCII is
/// brought into the form that DNS has (`xn--`).
///
/// # Errors
/// What is wrong, in words.
pub fn domain(typed: &str) -> Result<String, &'static str> {
    let name = wire::dns::in_ascii(typed.trim().trim_end_matches('.')).unwrap_or_default().to_ascii_lowercase();
    if name.is_empty() || name.len() > 253 {
        return Err("a domain has 1 to 253 characters");
    }
    let good_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !name.split('.').all(good_label) {
        return Err("a domain is made of letters, digits, dots and inner hyphens");
    }
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err("an IP address is no domain");
    }
    Ok(name)
}

/// Completes and checks a mail address: `NAME` gets `default_domain`; all is lower-cased, as the keeper compares.
///
/// # Errors
/// What is wrong, in words.
pub fn address(typed: &str, default_domain: &str) -> Result<String, &'static str> {
    let (local, host) = parts(typed, default_domain)?;
    // Before it is measured: some letters are longer in lower case.
    let local = local.to_lowercase();
    if local.contains('+') {
        return Err("an address here has no + in it: that separates a tag, with which its mail finds it anyway");
    }
    must_be_local(&local)?;
    Ok(format!("{local}@{host}"))
}

/// As [`address`], in the case in which it was typed, and with a tag: what is before the @ is the other house's affair (RFC 5321
/// §2.4).
///
/// # Errors
/// What is wrong, in words.
pub fn target(typed: &str, default_domain: &str) -> Result<String, &'static str> {
    let (local, host) = parts(typed, default_domain)?;
    must_be_local(local)?;
    Ok(format!("{local}@{host}"))
}

fn parts<'a>(typed: &'a str, default_domain: &'a str) -> Result<(&'a str, String), &'static str> {
    let typed = typed.trim();
    let (local, host) = typed.rsplit_once('@').unwrap_or((typed, default_domain));
    Ok((local, domain(host)?))
}

/// RFC 5321 §4.1.2 dot-string without quoting, which no mail app needs.
fn must_be_local(local: &str) -> Result<(), &'static str> {
    if local.is_empty() || local.len() > 64 {
        return Err("the part before @ has 1 to 64 characters");
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let foreign = |c: char| !c.is_ascii() && !c.is_control() && !c.is_whitespace();
    if !local.chars().all(|c| foreign(c) || c.is_ascii() && good(c as u8)) {
        return Err("the part before @ is made of letters, digits and - _ .");
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err("dots in the part before @ stand between letters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_and_lower_cased() {
        assert_eq!(address("Anna", "home.test").as_deref(), Ok("anna@home.test"));
        assert_eq!(address("anna@Example.ORG", "home.test").as_deref(), Ok("anna@example.org"));
        assert_eq!(address("anna@M\u{fc}ller.test", "home.test").as_deref(), Ok("anna@xn--mller-kva.test"));
        for bad in ["", "@home.test", "a b", "a+b", ".a", "a..b", "a@", "a@b_c", "a@1.2.3.4", "a\u{7}", "a\u{2000}b"] {
            assert!(address(bad, "home.test").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_keeps_its_case() {
        assert_eq!(target(" Ben@One.TEST", "home.test").as_deref(), Ok("Ben@one.test"));
        assert_eq!(target("Ben", "home.test").as_deref(), Ok("Ben@home.test"));
        assert_eq!(target("Ben+Home@one.test", "home.test").as_deref(), Ok("Ben+Home@one.test"));
        for bad in ["b en@one.test", "ben@one+two.test", "@one.test", ".ben@one.test"] {
            assert!(target(bad, "home.test").is_err(), "{bad}");
        }
    }

    #[test]
    fn domains_are_names() {
        assert_eq!(domain("Home.Test.").as_deref(), Ok("home.test"));
        for bad in ["", ".", "a..b", "-a.b", "a_b.c", "1.2.3.4", "a b"] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }
}
