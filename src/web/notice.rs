//! A page that says one thing in plain words: what is not possible and what to do about it. For people; programs get a
//! [`super::problem::Problem`].

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use askama::Template;

use super::viewer::Nav;
use crate::store::StoreError;

/// A page that says one thing.
#[derive(Clone, Debug)]
pub struct Notice(Box<Page>);

#[derive(Clone, Debug, Template)]
#[template(path = "notice.html", config = "src/web/askama.toml")]
struct Page {
    status: u16,
    title: &'static str,
    says: String,
    /// Where to go from here: address, words, and whether it opens a tab of its own.
    next: Option<(String, &'static str, bool)>,
    nav: Option<Nav>,
}

impl Notice {
    /// A page with a status.
    #[must_use]
    pub fn new(status: StatusCode, title: &'static str, says: impl Into<String>) -> Self {
        Self(Box::new(Page { status: status.as_u16(), title, says: says.into(), next: None, nav: None }))
    }

    /// With a way to go from here, on this server.
    #[must_use]
    pub fn with_next(mut self, path: impl Into<String>, words: &'static str) -> Self {
        self.0.next = Some((path.into(), words, false));
        self
    }

    /// With a way to go from here that opens a tab of its own.
    #[must_use]
    pub fn with_tab(mut self, path: impl Into<String>, words: &'static str) -> Self {
        self.0.next = Some((path.into(), words, true));
        self
    }

    /// 403 for somebody who is signed in and may not.
    #[must_use]
    pub fn forbidden() -> Self {
        let says = "You are signed in, but none of your roles allows this. Who looks after this gateway can give you another role.";
        Self::new(StatusCode::FORBIDDEN, "Not for your role", says).with_next("/", "To the overview")
    }

    /// 403 for a form that does not come from our own page.
    #[must_use]
    pub fn foreign_form() -> Self {
        let says = "Nothing was done: the form was not sent from a page of this session. Open the page again and send it from there.";
        Self::new(StatusCode::FORBIDDEN, "Nothing was done", says)
    }

    /// 400 for a form that is not understood.
    #[must_use]
    pub fn bad_form() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Nothing was done", "The form is not complete. Go back and send it again.")
    }

    /// 401 for a form of somebody whose session is over.
    #[must_use]
    pub fn too_late() -> Self {
        let says = "Nothing was done: you are not signed in, or no longer. Sign in, open the page again, and send the form from there. From inside the EHR, \
                    start the app again.";
        Self::new(StatusCode::UNAUTHORIZED, "Nothing was done", says).with_next("/signin", "Sign in")
    }

    /// 401 in a frame of an EHR's.
    #[must_use]
    pub fn over() -> Self {
        let says = "You are not signed in here, or no longer, and nothing was done. Start the app again from inside the EHR. Where this comes up at once, the browser keeps this \
                    site's cookies out of frames: sign in in a tab of its own.";
        Self::new(StatusCode::UNAUTHORIZED, "Start the app again", says).with_tab("/signin", "Sign in in a tab of its own")
    }

    /// 400 for a list that is asked for what it does not have.
    #[must_use]
    pub fn bad_list() -> Self {
        let says = "The list has no such column, value or page. Go to it anew, and take what it offers.";
        Self::new(StatusCode::BAD_REQUEST, "There is no such list", says).with_next("/", "To the overview")
    }

    /// 404 for what is not there.
    #[must_use]
    pub fn not_there(says: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not there", says).with_next("/", "To the overview")
    }

    /// 404 for a handle that is not of this session.
    #[must_use]
    pub fn not_open() -> Self {
        let says = "This patient is not open in this session. Open the patient again, in the EHR or by looking for them here.";
        Self::new(StatusCode::NOT_FOUND, "Not open", says)
    }

    /// 403 for a patient that the EHR does not show to the user. Nothing of the patient is told; `says` is the site's word.
    #[must_use]
    pub fn hidden(says: Option<&str>) -> Self {
        let otherwise =
            "The EHR does not let you see this patient. Open the patient in the EHR, where you may be asked for a reason, and try again.";
        Self::new(StatusCode::FORBIDDEN, "The EHR does not show this patient to you", says.unwrap_or(otherwise))
    }

    /// 503 where the EHR cannot be asked whether the user may see the patient.
    #[must_use]
    pub fn unseen() -> Self {
        let says = "Before a patient is shown, the EHR is asked whether you may see them, and it does not answer now. Try again in a moment; where it \
                    stays so, start the app from inside the EHR anew.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "The EHR cannot be asked", says)
    }

    /// 500. The cause is in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "This did not work", "Something went wrong here. Try again; it is in the log.")
    }

    /// The response.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = self.0.render().unwrap_or_default();
        HttpResponse::build(status).content_type("text/html; charset=utf-8").body(body)
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.title)
    }
}

impl ResponseError for Notice {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.response()
    }
}

impl Responder for Notice {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.response()
    }
}

impl From<StoreError> for Notice {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "a page failed in the store");
        Self::internal()
    }
}

impl From<askama::Error> for Notice {
    fn from(_: askama::Error) -> Self {
        tracing::error!("a page could not be rendered");
        Self::internal()
    }
}
