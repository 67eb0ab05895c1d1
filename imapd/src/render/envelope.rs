//! ENVELOPE (RFC 3501 §7.4.2).

use filter_sandbox::report::{Address, Envelope};

use super::text::nil_or_string;

/// Appends `(date subject from sender reply-to to cc bcc in-reply-to message-id)`.
pub fn envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.push(b'(');
    nil_or_string(out, envelope.date.as_deref());
    out.push(b' ');
    nil_or_string(out, envelope.subject.as_deref());
    let lists = [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
    for list in lists {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    nil_or_string(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    nil_or_string(out, envelope.message_id.as_deref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[Address]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        nil_or_string(out, address.name.as_deref());
        // The source route (RFC 5322 §4.4) is obsolete and never kept.
        out.extend_from_slice(b" NIL ");
        nil_or_string(out, address.mailbox.as_deref());
        out.push(b' ');
        nil_or_string(out, address.host.as_deref());
        out.push(b')');
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 3501 §8's example.
    #[test]
    fn the_example() {
        let address = |name: Option<&str>, mailbox: &str, host: &str| Address {
            name: name.map(Into::into),
            mailbox: Some(mailbox.into()),
            host: Some(host.into()),
        };
        let terry = vec![address(Some("Terry Gray"), "gray", "cac.washington.edu")];
        let example = Envelope {
            date: Some(b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)".to_vec()),
            subject: Some(b"IMAP4rev1 WG mtg summary and minutes".to_vec()),
            from: terry.clone(),
            sender: terry.clone(),
            reply_to: terry,
            to: vec![address(None, "imap", "cac.washington.edu")],
            cc: vec![
                address(None, "minutes", "CNRI.Reston.VA.US"),
                address(Some("John Klensin"), "KLENSIN", "MIT.EDU"),
            ],
            bcc: Vec::new(),
            in_reply_to: None,
            message_id: Some(b"<B27397-0100000@cac.washington.edu>".to_vec()),
        };
        let mut out = Vec::new();
        envelope(&mut out, &example);
        let expected = concat!(
            r#"("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" "#,
            r#"(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) "#,
            r#"(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) "#,
            r#"((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "#,
            r#""<B27397-0100000@cac.washington.edu>")"#,
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
