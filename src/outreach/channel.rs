//! A channel: what carries a message out of the building, and what it says happened. `recorded` keeps the message in the ledger and
//! sends nothing; `email` hands it to the operator's mail server. Knows nothing of who may be written to: the gate has judged before.

use domain::Timestamp;
use domain::model::Phi;

use crate::net::smtp::{Mail, Mailer, SendOutcome};

/// The kinds of channels that a step can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// In the ledger only; counts as delivered.
    Recorded,
    /// Electronic mail.
    Email,
}

impl ChannelKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Recorded, Self::Email];

    /// As written in files and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Email => "email",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }

    /// Whether a message on it leaves this installation.
    #[must_use]
    pub const fn leaves(self) -> bool {
        !matches!(self, Self::Recorded)
    }

    /// Whether it is open to others on its way: messages above [`super::template::PhiClass::Limited`] must not use it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Email | Self::Recorded)
    }
}

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The attempt's public id: the provider's side can be searched by it.
    pub attempt: String,
    /// The address or number, as the gate chose it.
    pub to: Phi<String>,
    /// The subject.
    pub subject: Phi<String>,
    /// The text.
    pub body: Phi<String>,
    /// When it is sent.
    pub at: Timestamp,
}

/// What became of a message. The texts are codes, never words of the other side, which may quote an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is where it should be; no receipt follows.
    Delivered {
        /// The provider's reference, where there is one.
        provider_ref: Option<String>,
    },
    /// The provider took it; a receipt or a bounce may follow.
    Accepted {
        /// The provider's reference, where there is one.
        provider_ref: Option<String>,
    },
    /// It will never be delivered this way: the next rung may be tried.
    RefusedForGood {
        /// Such as `550 5.1.1`.
        code: String,
    },
    /// Nothing left; the same message may be tried later.
    TryLater {
        /// Such as `451 4.7.1` or `connect`.
        code: String,
    },
    /// It may or may not have left. Must not be sent again before a person or the provider has settled it.
    Unclear {
        /// Such as `connection-lost`.
        code: String,
    },
}

/// A channel, ready to carry.
#[derive(Debug)]
pub enum Channel {
    /// See [`ChannelKind::Recorded`].
    Recorded,
    /// See [`ChannelKind::Email`].
    Email(Box<Mailer>),
}

impl Channel {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ChannelKind {
        match self {
            Self::Recorded => ChannelKind::Recorded,
            Self::Email(_) => ChannelKind::Email,
        }
    }

    /// Carries a message. To be called once per attempt, after the store holds the attempt as `sending`.
    pub async fn deliver(&self, message: &Outgoing) -> Delivery {
        match self {
            Self::Recorded => Delivery::Delivered { provider_ref: None },
            Self::Email(mailer) => {
                let mail = Mail {
                    key: message.attempt.clone(),
                    to: message.to.clone(),
                    subject: message.subject.clone(),
                    body: message.body.clone(),
                    date: message.at,
                    list_unsubscribe: None,
                };
                match mailer.send(&mail).await {
                    SendOutcome::Accepted { provider_ref } => Delivery::Accepted { provider_ref: Some(provider_ref) },
                    SendOutcome::RefusedForGood { code } => Delivery::RefusedForGood { code },
                    SendOutcome::TryLater { code } => Delivery::TryLater { code },
                    SendOutcome::Unclear { code } => Delivery::Unclear { code },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_is_delivered_at_once_and_leaves_nothing_in_debug_output() {
        let message = Outgoing {
            attempt: "a-1".to_owned(),
            to: Phi::new("ada@example.org".to_owned()),
            subject: Phi::new("Your visit".to_owned()),
            body: Phi::new("Hello Ada".to_owned()),
            at: Timestamp::from_micros(0),
        };
        assert!(!format!("{message:?}").contains("Ada"), "{message:?}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(Channel::Recorded.deliver(&message)), Delivery::Delivered { provider_ref: None });
        for kind in ChannelKind::ALL {
            assert_eq!(ChannelKind::parse(kind.as_str()), Some(kind));
        }
    }
}
