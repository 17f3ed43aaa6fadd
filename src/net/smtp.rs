//! The door to the operator's mail server (RFC 5321, RFC 8314). One message, one connection, one answer that says whether it is safe to
//! try again: before the message's data went out, every failure is certain; after that, only the server's own answer is, and a lost
//! connection leaves it unclear (RFC 5321 section 4.5.3.2.6 knows the window). Addresses, subjects and bodies reach no log and no error.
//!
//! The mail library must be built without its `tracing` feature, which writes the whole conversation to the log.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use domain::Timestamp;
use domain::model::Phi;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use lettre::{Address, transport::smtp::Error};

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Not at all: a relay on this very machine only.
    None,
    /// STARTTLS, required (most often port 587).
    StartTls,
    /// TLS from the first byte (most often port 465).
    Tls,
}

/// How to reach the mail server and who we are.
#[derive(Clone, Debug)]
pub struct MailerConfig {
    /// Host name; its certificate must name it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Protection.
    pub tls: Protection,
    /// Certificates (PEM) to trust besides the machine's own.
    pub extra_roots_pem: Vec<u8>,
    /// User and password, where the server wants them. Never sent without TLS.
    pub login: Option<Login>,
    /// The sender, `Main Street Clinic <reminders@clinic.example>`. Bounces go to its address.
    pub from: String,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<String>,
    /// Time for the connection, TLS included, and for each command.
    pub command_timeout: Duration,
    /// Time for the answer to the message itself; RFC 5321 wants 10 minutes.
    pub data_timeout: Duration,
}

/// User and password.
#[derive(Clone)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login([redacted])")
    }
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailerConfigError {
    /// No TLS to another machine.
    #[error(
        "smtp: {0} is not this machine, so its connection needs tls = \"starttls\" or \"tls\"; without TLS only a relay on loopback is allowed"
    )]
    PlainToAnotherMachine(String),
    /// A password without TLS.
    #[error("smtp: a user and password are set, but tls = \"none\"; set tls, or leave the user out")]
    PlainPassword,
    /// Not an address.
    #[error("smtp: {0} is not a mail address; write it as \"Name <user@host>\"")]
    NotAnAddress(&'static str),
    /// TLS cannot be set up.
    #[error("smtp: the extra root certificates are not PEM certificates, or the machine has no trusted roots")]
    Roots,
}

/// A message to one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The attempt's public id; the Message-ID is made of it, so that a mailbox can be searched for it.
    pub key: String,
    /// The address.
    pub to: Phi<String>,
    /// The subject.
    pub subject: Phi<String>,
    /// The text.
    pub body: Phi<String>,
    /// When it is sent.
    pub date: Timestamp,
    /// `List-Unsubscribe` (RFC 2369): `<mailto:..>` or `<https://..>`, for messages of the marketing class.
    pub list_unsubscribe: Option<String>,
}

/// What the mail server said. Codes only: servers quote addresses in their texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It took the message and the duty to deliver it.
    Accepted {
        /// The Message-ID, with its angle brackets.
        provider_ref: String,
    },
    /// It will not take this message, or this address, ever.
    RefusedForGood {
        /// Reply code and enhanced status code (RFC 3463), such as `550 5.1.1`; or `bad-address`, `bad-message`.
        code: String,
    },
    /// Nothing was taken; later it may be.
    TryLater {
        /// Such as `451 4.7.1`, `connect`, `tls`, `timeout`, `login 535`.
        code: String,
    },
    /// The data went out and no answer came back: the message may have been taken.
    Unclear {
        /// `connection-lost` or `timeout`.
        code: String,
    },
}

/// A mail server, as configured. Connections are not kept: outreach is slow on purpose, and a kept connection would turn the server's
/// idle time-out into doubt.
pub struct Mailer {
    config: MailerConfig,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    tls: Option<TlsParameters>,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Mailer {
    /// Checks the configuration; makes no connection.
    ///
    /// # Errors
    /// [`MailerConfigError`], which says what to change.
    pub fn new(config: MailerConfig) -> Result<Self, MailerConfigError> {
        if config.tls == Protection::None {
            let this_machine = config.host == "localhost" || config.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            if !this_machine {
                return Err(MailerConfigError::PlainToAnotherMachine(config.host));
            }
            if config.login.is_some() {
                return Err(MailerConfigError::PlainPassword);
            }
        }
        let mailbox = |text: &str, name| text.parse::<Mailbox>().map_err(|_| MailerConfigError::NotAnAddress(name));
        let from = mailbox(&config.from, "from")?;
        let reply_to = config.reply_to.as_deref().map(|r| mailbox(r, "reply_to")).transpose()?;
        let tls = if config.tls == Protection::None { None } else { Some(tls_parameters(&config)?) };
        Ok(Self { config, from, reply_to, tls })
    }

    /// The Message-ID that a message of this key has.
    #[must_use]
    pub fn message_id(&self, key: &str) -> String {
        let key: String = key.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
        format!("<{key}.fhir-engage@{}>", self.from.email.domain())
    }

    /// Sends one message and waits for the server's answer, within the two time limits. A caller that drops the future has to take the
    /// message for unclear.
    pub async fn send(&self, mail: &Mail) -> SendOutcome {
        let Ok(to) = mail.to.expose().parse::<Address>() else {
            return refused("bad-address");
        };
        let Some(message) = self.message(mail, &to) else {
            return refused("bad-message");
        };
        let mut connection = match self.open().await {
            Ok(connection) => connection,
            Err(outcome) => return outcome,
        };
        let outcome = self.converse(&mut connection, message.envelope(), &message.formatted(), self.message_id(&mail.key)).await;
        // The outcome stands; a server that does not answer QUIT must not hold the worker.
        let _ = tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
        outcome
    }

    /// The message as it goes out; `None` where a header cannot be written. The library encodes every header value (RFC 2047), and what
    /// could end a line is taken out before, so that no value can add a header.
    fn message(&self, mail: &Mail, to: &Address) -> Option<Message> {
        let since_epoch = Duration::from_micros(u64::try_from(mail.date.micros()).ok()?);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(one_line(mail.subject.expose()))
            .message_id(Some(self.message_id(&mail.key)))
            .date(SystemTime::UNIX_EPOCH + since_epoch)
            // RFC 2045 section 4: without it, the encoding of the body need not be undone.
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            // RFC 3834: holiday notices must not answer a machine.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        if let Some(target) = &mail.list_unsubscribe {
            let ok = target.starts_with('<') && target.ends_with('>') && target.bytes().all(|b| b.is_ascii_graphic());
            let value = ok.then(|| target.clone())?;
            builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("List-Unsubscribe"), value));
        }
        let body: String = mail.body.expose().chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect();
        builder.body(body).ok()
    }

    async fn open(&self) -> Result<AsyncSmtpConnection, SendOutcome> {
        let name = ClientId::Domain(self.from.email.domain().to_owned());
        let wrapped = self.tls.clone().filter(|_| self.config.tls == Protection::Tls);
        let server = (self.config.host.as_str(), self.config.port);
        let limit = self.config.command_timeout;
        let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(limit), &name, wrapped, None);
        let mut connection = timed(limit, connecting, "connect").await?;
        if let (Protection::StartTls, Some(tls)) = (self.config.tls, self.tls.clone()) {
            timed(limit, connection.starttls(tls, &name), "tls").await?;
        }
        if let Some(login) = &self.config.login {
            let credentials = Credentials::new(login.user.clone(), login.password.clone());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            timed(limit, connection.auth(&mechanisms, &credentials), "login").await?;
        }
        Ok(connection)
    }

    async fn converse(&self, connection: &mut AsyncSmtpConnection, envelope: &Envelope, bytes: &[u8], reference: String) -> SendOutcome {
        match self.announce(connection, envelope, bytes).await {
            Ok(()) => {}
            Err(outcome) => return outcome,
        }
        match tokio::time::timeout(self.config.data_timeout, connection.message(bytes)).await {
            Ok(Ok(_)) => SendOutcome::Accepted { provider_ref: reference },
            // Only an answer with a code tells that the server did not take it.
            Ok(Err(e)) if e.status().is_some() => certain(&e, "data"),
            Ok(Err(_)) => SendOutcome::Unclear { code: "connection-lost".to_owned() },
            Err(_) => SendOutcome::Unclear { code: "timeout".to_owned() },
        }
    }

    /// Everything before the message's own data.
    async fn announce(&self, connection: &mut AsyncSmtpConnection, envelope: &Envelope, bytes: &[u8]) -> Result<(), SendOutcome> {
        let limit = self.config.command_timeout;
        let mut options = Vec::new();
        if envelope.to().iter().chain(envelope.from()).any(|a| !a.to_string().is_ascii()) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(refused("no-smtputf8"));
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        if !bytes.is_ascii() {
            if !connection.server_info().supports_feature(Extension::EightBitMime) {
                return Err(refused("no-8bitmime"));
            }
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        timed(limit, connection.command(MailFrom::new(envelope.from().cloned(), options)), "mail").await?;
        for to in envelope.to() {
            timed(limit, connection.command(Rcpt::new(to.clone(), Vec::new())), "rcpt").await?;
        }
        timed(limit, connection.command(Data), "data").await.map(|_: Response| ())
    }
}

impl SendOutcome {
    /// What a code means to whoever looks after the connection, where more is to be said than the code says; servers' own codes say enough.
    #[must_use]
    pub fn advice(code: &str) -> Option<&'static str> {
        Some(match code {
            "connect" | "connect timeout" => {
                "no connection: check host, port, tls (implicit is most often on 465, starttls on 587) and the firewall; where tls is implicit, also whether \
                 the server's certificate is trusted (smtp.ca names further authorities) and of the name smtp.host"
            }
            "tls" | "tls timeout" => {
                "no TLS: the server offers none, or its certificate is not trusted (smtp.ca names further authorities) or is of another name than smtp.host"
            }
            login if login.starts_with("login 5") => "the server does not take this user with this password",
            "login" => "the server offers no way to sign in that is taken here (PLAIN and LOGIN are)",
            mail if mail.starts_with("mail 5") => "the server does not take this sender: check smtp.from, and whether it wants a user",
            _ => return None,
        })
    }
}

fn tls_parameters(config: &MailerConfig) -> Result<TlsParameters, MailerConfigError> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if !config.extra_roots_pem.is_empty() {
        // The library takes a file without one for none at all.
        if super::Certificate::all_from_pem(&config.extra_roots_pem).is_empty() {
            return Err(MailerConfigError::Roots);
        }
        builder = builder.add_root_certificate(Certificate::from_pem(&config.extra_roots_pem).map_err(|_| MailerConfigError::Roots)?);
    }
    builder.build_rustls().map_err(|_| MailerConfigError::Roots)
}

/// Runs one step of the conversation before the data; its failure is certain.
async fn timed<T>(limit: Duration, step: impl Future<Output = Result<T, Error>>, name: &str) -> Result<T, SendOutcome> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done.map_err(|e| certain(&e, name)),
        Err(_) => Err(SendOutcome::TryLater { code: format!("{name} timeout") }),
    }
}

/// A failure of which we know that nothing was taken.
fn certain(error: &Error, step: &str) -> SendOutcome {
    match error.status() {
        Some(status) => {
            let code = reply_code(&status.to_string(), &std::error::Error::source(error).map(ToString::to_string).unwrap_or_default());
            // A refused greeting, login or sender is the installation's fault and not the address's: messages wait until it is set right.
            let about_this_message = matches!(step, "rcpt" | "data");
            match (about_this_message, error.is_permanent()) {
                (true, true) => SendOutcome::RefusedForGood { code },
                (true, false) => SendOutcome::TryLater { code },
                (false, _) => SendOutcome::TryLater { code: format!("{step} {code}") },
            }
        }
        None => SendOutcome::TryLater { code: if error.is_tls() { "tls".to_owned() } else { step.to_owned() } },
    }
}

/// The reply code with the enhanced status code (RFC 3463), where the text begins with one; the rest of the text may quote an address.
fn reply_code(code: &str, text: &str) -> String {
    let enhanced = text.split_whitespace().next().filter(|word| {
        let parts: Vec<&str> = word.split('.').collect();
        parts.len() == 3 && parts.iter().all(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    });
    enhanced.map_or_else(|| code.to_owned(), |e| format!("{code} {e}"))
}

fn refused(code: &str) -> SendOutcome {
    SendOutcome::RefusedForGood { code: code.to_owned() }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests;
