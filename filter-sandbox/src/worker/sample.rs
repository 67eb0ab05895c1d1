//! A constant letter that a zygote and each waiting worker read beforehand, so that code and memory are in place when
//! a stranger's letter comes. It is nobody's mail.

use crate::letter;
use crate::report::Facts;

const LETTER: &[u8] = b"Return-Path: <sample@sender.example>\r\n\
Received: from mail.sender.example (mail.sender.example [192.0.2.1])\r\n\
\tby mx.home.test with ESMTPS id 1; Thu, 1 Jan 2026 00:00:00 +0000\r\n\
From: =?utf-8?q?S=C3=A4mple?= <sample@sender.example>\r\n\
To: \"You, dear\" <you@home.test>, them@home.test\r\n\
Cc: Group: a@b.example, c@d.example;\r\n\
Subject: =?utf-8?b?U8OkbXBsZQ==?= of a\r\n letter\r\n\
Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
Message-ID: <1@sender.example>\r\n\
In-Reply-To: <0@home.test>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=\"outer\"\r\n\
\r\n\
--outer\r\n\
Content-Type: multipart/alternative; boundary=inner\r\n\
\r\n\
--inner\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\
\r\n\
Gr=C3=BC=C3=9Fe, see https://www.sender.example/path?x=3Dy\r\n\
A text of some length is read in another way than a short one: what the processor can is found out then, once.\r\n\
--inner\r\n\
Content-Type: text/html; charset=iso-8859-1\r\n\
\r\n\
<html><body><p>See <a href=\"https://www.sender.example/\">this</a></p></body></html>\r\n\
--inner--\r\n\
--outer\r\n\
Content-Type: application/pdf; name=\"a.pdf\"\r\n\
Content-Disposition: attachment; filename*=utf-8''a.pdf\r\n\
Content-Transfer-Encoding: base64\r\n\
\r\n\
JVBERi0xLjQKJSBub3RoaW5nCg==\r\n\
--outer\r\n\
Content-Type: message/rfc822\r\n\
\r\n\
From: a@b.example\r\nSubject: inside\r\n\r\nWords.\r\n\
--outer--\r\n";

/// Reads it as any letter is read.
pub(crate) fn read() {
    let report = letter::examine(LETTER, &Facts::default());
    let _ = std::hint::black_box(report.and_then(|report| postcard::to_stdvec(&report).ok()));
}
