//! A desk with nothing on it, for tests of what does not ask it.

use domain::model::Phi;
use fhir_engage::web::desk::{Act, Asking, Desk, Planning, Program, Readings, Refusal, Segment, Sheet};
use fhir_engage::web::viewer::Viewer;

pub struct NoDesk;

fn ready<T: Send + 'static>(value: T) -> Asking<'static, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Desk for NoDesk {
    fn readings(&self) -> Asking<'_, Readings> {
        ready(Readings::default())
    }

    fn sheet(&self, _: String) -> Asking<'_, Option<Sheet>> {
        ready(None)
    }

    fn segments(&self) -> Asking<'_, Vec<Segment>> {
        ready(Vec::new())
    }

    fn programs(&self) -> Vec<Program> {
        Vec::new()
    }

    fn channels(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn planning(&self) -> Planning {
        Planning::Never
    }

    fn differences(&self) -> Asking<'_, Result<usize, usize>> {
        ready(Ok(0))
    }

    fn remedy(&self, _: &str, _: &str) -> String {
        String::new()
    }

    fn meaning(&self, code: &str) -> String {
        code.to_owned()
    }

    fn words(&self, _: &[u8]) -> Option<Phi<String>> {
        None
    }

    fn act(&self, _: Viewer, _: Act) -> Asking<'_, String> {
        Box::pin(std::future::ready(Err(Refusal::Because("nobody is at the desk".to_owned()))))
    }
}
