//! Who looks at a page, as handlers see it, and the navigation that this person gets.

use domain::model::{Phi, Right, Roles};

use crate::smart::Session;

/// Who looks at a page. The middleware puts it into each request that needs somebody signed in; handlers take `web::ReqData<Viewer>`.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Who it is.
    pub user: User,
    /// What they do here.
    pub roles: Roles,
    /// Names the session. It signs nobody in, so it may be logged.
    pub session: String,
    /// What each form of this session carries in its field `csrf`.
    pub csrf: String,
    /// Whether the EHR let them in, on one patient.
    pub launched: bool,
    /// What the last act of the session has to say: a mood and words.
    pub note: Option<Phi<String>>,
}

/// A user of this gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Who says who it is.
    pub issuer: String,
    /// The user, as the issuer names them for good.
    pub subject: String,
    /// A name for people.
    pub name: Option<String>,
    /// The user as a resource of the EHR, where a launch told it.
    pub fhir_user: Option<String>,
}

impl User {
    /// How the user is called on pages.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.name.as_deref().or(self.fhir_user.as_deref()).unwrap_or(if self.issuer == crate::smart::Identity::BY_LINK {
            "signed in by a link"
        } else {
            &self.subject
        })
    }
}

impl User {
    /// How the user is named in the audit chain.
    #[must_use]
    pub fn named(&self) -> String {
        if self.issuer == crate::smart::Identity::BY_LINK {
            // A link's user is its hash, whose beginning tells links apart.
            return format!("link {}", self.subject.get(..12).unwrap_or(&self.subject));
        }
        format!("{} at {}", self.subject, self.issuer)
    }
}

impl Viewer {
    /// The viewer of a session.
    #[must_use]
    pub fn of(session: Session) -> Self {
        let who = session.who;
        let user = User { issuer: who.issuer, subject: who.subject, name: who.name, fhir_user: who.fhir_user };
        Self { user, roles: who.roles, session: session.id, csrf: session.csrf, launched: who.ehr.is_some(), note: session.note }
    }

    /// Whether one of the roles has the right.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.roles.may(right)
    }

    /// The navigation; `current` is the path of the page that it stands on.
    #[must_use]
    pub fn nav(&self, current: &str) -> Option<Nav> {
        let links = PAGES.iter().filter(|page| self.may(page.right));
        let links = links.map(|page| Link { path: page.path, words: page.words, is_current: page.path == current }).collect();
        let roles: Vec<&str> = self.roles.iter().map(domain::model::Role::title).collect();
        Some(Nav { links, who: self.user.shown().to_owned(), roles: roles.join(", "), csrf: self.csrf.clone() })
    }
}

/// A page that the navigation leads to.
struct Page {
    path: &'static str,
    words: &'static str,
    right: Right,
}

/// The pages of the navigation, in its order.
#[rustfmt::skip]
static PAGES: &[Page] = &[
    Page { path: "/", words: "Overview", right: Right::SeeOverview },
    Page { path: "/work", words: "Work", right: Right::SeeWork },
    Page { path: "/patients", words: "Patients", right: Right::FindPatient },
    Page { path: "/outreach", words: "Outreach", right: Right::SeeOutreach },
    Page { path: "/segments", words: "Segments", right: Right::SeeSegments },
    Page { path: "/connections", words: "Connections", right: Right::SeeConnections },
    Page { path: "/writeback", words: "Write-back", right: Right::SeeWriteBack },
    Page { path: "/audit", words: "Audit", right: Right::SeeAudit },
];

/// What the layout shows to somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Nav {
    /// Where to go.
    pub links: Vec<Link>,
    /// Who it is.
    pub who: String,
    /// What they do here.
    pub roles: String,
    /// For the form that signs out.
    pub csrf: String,
}

/// A link of the navigation.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where it leads.
    pub path: &'static str,
    /// What it says.
    pub words: &'static str,
    /// Whether it is the page that it stands on.
    pub is_current: bool,
}
