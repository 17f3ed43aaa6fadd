//! A patient that the viewer has open: [`Opened`], the only way for a handler to learn which patient a page is about.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use domain::model::Right;

use super::Served;
use super::access::Wanted;
use super::edge::FramedBy;
use super::notice::Notice;
use super::viewer::Viewer;
use crate::smart::{Opening, Sight, Verdict};

/// The viewer and what they have open under the `{handle}` of the path. Another session's handle, an unknown one and one that has ended all answer
/// 404. The route's right must be one of the opening's roles, too; and where the EHR let the user in, it must let the user see the patient.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Who looks.
    pub viewer: Viewer,
    /// What is open.
    pub opening: Opening,
}

impl Opened {
    /// Whether the viewer may, here: by a role of the session that the opening has, too.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.viewer.may(right) && self.opening.may(right)
    }

    /// The path of the patient's page.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/l/{}", self.opening.handle)
    }
}

impl FromRequest for Opened {
    type Error = Notice;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Notice>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let viewer = request.extensions().get::<Viewer>().cloned().ok_or_else(Notice::not_open)?;
            let wanted = request.extensions().get::<Wanted>().copied().ok_or_else(Notice::not_open)?;
            let served = request.app_data::<web::Data<Served>>().cloned().ok_or_else(Notice::internal)?;
            let handle = request.match_info().get("handle").unwrap_or_default();
            let found = served.given.sessions.opening(handle, &viewer.session).await?;
            let opening = found.ok_or_else(Notice::not_open)?;
            if opening.what.launched {
                let framed = served.given.launches.frames_of(&opening.what.ehr).await;
                request.extensions_mut().insert(FramedBy(framed));
            }
            let mut opened = Self { viewer, opening };
            if !opened.may(wanted.0) {
                return Err(Notice::forbidden());
            }
            match served.given.launches.sight(&opened.opening).await? {
                Sight::Shown => {
                    if opened.opening.what.launched {
                        opened.opening.what.verdict = Verdict::Allowed;
                    }
                    Ok(opened)
                }
                Sight::Hidden => {
                    served.given.store.audited(super::patient::denied(&served, &opened)).await?;
                    Err(Notice::hidden(served.given.denied.as_deref()).with_next(opened.path(), "Ask the EHR again"))
                }
                Sight::Unknown => Err(Notice::unseen().with_next(opened.path(), "Ask the EHR again")),
            }
        })
    }
}
