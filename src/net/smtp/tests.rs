use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the server in the test answers; every field is one reply, `None` closes the connection without one.
#[derive(Clone)]
struct Script {
    greeting: &'static str,
    mail: &'static str,
    rcpt: &'static str,
    data: &'static str,
    end: Option<&'static str>,
    /// Waits this long before the answer to the message.
    slow: Duration,
}

const ACCEPT: Script = Script {
    greeting: "220 mail.example ESMTP",
    mail: "250 2.1.0 Ok",
    rcpt: "250 2.1.5 Ok",
    data: "354 End data with <CR><LF>.<CR><LF>",
    end: Some("250 2.0.0 Ok: queued as 4F1"),
    slow: Duration::ZERO,
};

async fn serve(stream: TcpStream, script: Script, seen: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut in_data = false;
    let mut reply = Some(script.greeting);
    loop {
        if let Some(text) = reply.take()
            && stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).await.is_err()
        {
            return;
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        seen.lock().unwrap().push(line.clone());
        if in_data {
            if line == "." {
                in_data = false;
                tokio::time::sleep(script.slow).await;
                match script.end {
                    Some(text) => reply = Some(text),
                    None => return,
                }
            }
            continue;
        }
        reply = Some(match line.split(' ').next().unwrap_or_default() {
            "EHLO" => "250-mail.example\r\n250 PIPELINING",
            "MAIL" => script.mail,
            "RCPT" => script.rcpt,
            "DATA" => {
                in_data = script.data.starts_with("354");
                script.data
            }
            _ => "221 Bye",
        });
    }
}

/// Starts a server that follows `script`, sends `mail` to it, and gives the outcome and what the server read.
fn exchange(script: Script, mail: Mail) -> (SendOutcome, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, script, log).await;
        });
        let outcome = Mailer::new(config(port)).unwrap().send(&mail).await;
        let seen = seen.lock().unwrap().clone();
        (outcome, seen)
    })
}

fn config(port: u16) -> MailerConfig {
    MailerConfig {
        host: "127.0.0.1".to_owned(),
        port,
        tls: Protection::None,
        extra_roots_pem: Vec::new(),
        login: None,
        from: "Main Street Clinic <reminders@clinic.example>".to_owned(),
        reply_to: Some("desk@clinic.example".to_owned()),
        command_timeout: Duration::from_secs(5),
        data_timeout: Duration::from_millis(400),
    }
}

fn mail() -> Mail {
    Mail {
        key: "0194-a7".to_owned(),
        to: Phi::new("ada@example.org".to_owned()),
        subject: Phi::new("Su cita en la clínica".to_owned()),
        body: Phi::new("Hola Ada:\n.\nUsted tiene una cita mañana.\n".to_owned()),
        date: Timestamp::parse("2026-11-23T15:00:00Z").unwrap(),
        list_unsubscribe: None,
    }
}

#[test]
fn an_accepted_message_is_whole_and_can_be_found_again() {
    let (outcome, seen) = exchange(ACCEPT, mail());
    assert_eq!(outcome, SendOutcome::Accepted { provider_ref: "<0194-a7.fhir-engage@clinic.example>".to_owned() });
    for line in [
        "MAIL FROM:<reminders@clinic.example>",
        "RCPT TO:<ada@example.org>",
        "Message-ID: <0194-a7.fhir-engage@clinic.example>",
        "To: ada@example.org",
        "Reply-To: desk@clinic.example",
        "Date: Mon, 23 Nov 2026 15:00:00 +0000",
        "Auto-Submitted: auto-generated",
        "QUIT",
    ] {
        assert!(seen.iter().any(|l| l == line), "{line} is not in {seen:#?}");
    }
    assert!(
        seen.iter().any(|l| l.starts_with("From: ") && l.contains("Main Street Clinic") && l.contains("<reminders@clinic.example>")),
        "{seen:#?}"
    );
    assert!(seen.iter().any(|l| l.starts_with("Subject: ") && l.contains("=?utf-8?")), "{seen:#?}");
    assert_eq!(seen.iter().filter(|l| *l == ".").count(), 1, "a line of one dot in the text does not end the message");
    assert!(seen.iter().all(|l| l.is_ascii()), "without 8BITMIME the message is plain ASCII: {seen:#?}");
}

#[test]
fn each_answer_leads_to_its_outcome() {
    let refused = |code: &str| SendOutcome::RefusedForGood { code: code.to_owned() };
    let later = |code: &str| SendOutcome::TryLater { code: code.to_owned() };
    let unclear = |code: &str| SendOutcome::Unclear { code: code.to_owned() };
    for (script, wanted) in [
        (Script { rcpt: "550 5.1.1 <ada@example.org>: no such user", ..ACCEPT }, refused("550 5.1.1")),
        (Script { rcpt: "550-No such user\r\n550 ada@example.org", ..ACCEPT }, refused("550")),
        (Script { rcpt: "451 4.7.1 Greylisted", ..ACCEPT }, later("451 4.7.1")),
        (Script { greeting: "554 5.7.1 you are blocked", ..ACCEPT }, later("connect 554 5.7.1")),
        (Script { greeting: "421 busy", ..ACCEPT }, later("connect 421")),
        (Script { mail: "530 5.7.0 Must issue a STARTTLS command first", ..ACCEPT }, later("mail 530 5.7.0")),
        (Script { data: "552 5.3.4 too big", ..ACCEPT }, refused("552 5.3.4")),
        (Script { end: Some("554 5.6.0 message refused"), ..ACCEPT }, refused("554 5.6.0")),
        (Script { end: Some("452 4.2.2 mailbox full"), ..ACCEPT }, later("452 4.2.2")),
        (Script { end: None, ..ACCEPT }, unclear("connection-lost")),
        (Script { end: Some("gibberish"), ..ACCEPT }, unclear("connection-lost")),
        (Script { slow: Duration::from_secs(3), ..ACCEPT }, unclear("timeout")),
    ] {
        let told = (script.greeting, script.mail, script.rcpt, script.data, script.end);
        let (outcome, seen) = exchange(script, mail());
        assert_eq!(outcome, wanted, "{told:?}");
        assert!(!format!("{outcome:?}").contains("ada"), "an outcome must not quote an address");
        let sent = seen.iter().any(|l| l.starts_with("Subject:"));
        assert!(sent || !matches!(outcome, SendOutcome::Unclear { .. }), "unclear only once the data went out");
    }
}

#[test]
fn a_server_that_is_not_there_means_later() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        Mailer::new(config(port)).unwrap().send(&mail()).await
    });
    assert_eq!(outcome, SendOutcome::TryLater { code: "connect".to_owned() });
}

#[test]
fn nothing_can_add_a_header_a_recipient_or_a_command() {
    let hostile = Mail {
        key: "a\r\nBcc: x@evil.example".to_owned(),
        subject: Phi::new("Hello\r\nBcc: x@evil.example\r\n\r\nnew body".to_owned()),
        body: Phi::new("Line\r\n.\r\nMAIL FROM:<x@evil.example>\r\n\u{0}\u{8}".to_owned()),
        ..mail()
    };
    let (outcome, seen) = exchange(ACCEPT, hostile);
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    assert!(!seen.iter().any(|l| l.to_lowercase().starts_with("bcc")), "{seen:#?}");
    assert_eq!(seen.iter().filter(|l| *l == ".").count(), 1, "{seen:#?}");
    assert_eq!(
        seen.iter().position(|l| l == "QUIT"),
        seen.iter().position(|l| l == ".").map(|dot| dot + 1),
        "nothing was read as a command"
    );
    let bad = |to: &str| exchange_bad(Mail { to: Phi::new(to.to_owned()), ..mail() });
    for to in ["ada@example.org\r\nRCPT TO:<x@evil.example>", "ada", "ada@example.org, x@evil.example", "<ada@example.org>", ""] {
        assert_eq!(bad(to), SendOutcome::RefusedForGood { code: "bad-address".to_owned() }, "{to:?}");
    }
    let unsubscribe = Mail { list_unsubscribe: Some("<mailto:a@b.example>\r\nBcc: x@evil.example".to_owned()), ..mail() };
    assert_eq!(exchange_bad(unsubscribe), SendOutcome::RefusedForGood { code: "bad-message".to_owned() });
}

/// Sends what must be refused before any connection is made: port 9 is not ours.
fn exchange_bad(mail: Mail) -> SendOutcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Mailer::new(config(9)).unwrap().send(&mail).await })
}

#[test]
fn a_configuration_that_would_show_mail_or_a_password_is_refused() {
    let login = || Some(Login { user: "u".to_owned(), password: "hunter2".to_owned() });
    for (change, says) in [
        (MailerConfig { host: "mail.example".to_owned(), ..config(25) }, "mail.example is not this machine"),
        (MailerConfig { host: "192.0.2.1".to_owned(), ..config(25) }, "needs tls"),
        (MailerConfig { login: login(), ..config(25) }, "leave the user out"),
        (MailerConfig { from: "nobody".to_owned(), ..config(25) }, "from is not a mail address"),
        (MailerConfig { reply_to: Some("x".to_owned()), ..config(25) }, "reply_to is not a mail address"),
        (
            MailerConfig { tls: Protection::Tls, extra_roots_pem: b"-----BEGIN CERTIFICATE-----\nx".to_vec(), ..config(25) },
            "root certificates",
        ),
    ] {
        let error = Mailer::new(change).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let good =
        Mailer::new(MailerConfig { host: "mail.example".to_owned(), tls: Protection::StartTls, login: login(), ..config(587) }).unwrap();
    assert!(!format!("{good:?}").contains("hunter2"));
}

#[test]
fn a_server_without_starttls_gets_no_mail_when_it_is_required() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (outcome, seen) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, ACCEPT, log).await;
        });
        let mailer = Mailer::new(MailerConfig { tls: Protection::StartTls, ..config(port) }).unwrap();
        let outcome = mailer.send(&mail()).await;
        let seen = seen.lock().unwrap().clone();
        (outcome, seen)
    });
    assert_eq!(outcome, SendOutcome::TryLater { code: "tls".to_owned() });
    assert!(!seen.iter().any(|l| l.starts_with("MAIL") || l.starts_with("RCPT")), "{seen:?}");
}
