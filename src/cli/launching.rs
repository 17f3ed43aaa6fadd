//! How staff open this gateway from inside an EHR: the options of `ehr add` for launches.

use clap::Args;
use url::Url;

use super::exit::Failure;
use crate::credentials::SecretRef;
use crate::ehr::profile::{AppLaunch, Auth, Profile, UserGrant};

/// Options for launches
#[derive(Debug, Args)]
pub(super) struct Launching {
    /// The client id that the EHR issued for launches; without --launch-secret and --launch-sign of a public client
    #[arg(long, value_name = "CLIENT", conflicts_with = "files", help_heading = "Launch")]
    launch_client_id: Option<String>,
    /// Where its secret is: env:NAME or file:PATH
    #[arg(long, value_name = "SECRET", requires = "launch_client_id", help_heading = "Launch")]
    launch_secret: Option<String>,
    /// It signs with this installation's key
    #[arg(long, requires = "launch_client_id", conflicts_with = "launch_secret", help_heading = "Launch")]
    launch_sign: bool,
    /// A scope to ask for at a launch, in place of those that are needed; may be repeated
    #[arg(long = "launch-scope", value_name = "SCOPE", requires = "launch_client_id", help_heading = "Launch")]
    launch_scopes: Vec<String>,
    /// What a user must be able to read beside the patient, where the launch names one: Appointment, Encounter; may be repeated
    #[arg(long = "launch-also-read", value_name = "TYPE", requires = "launch_client_id", help_heading = "Launch")]
    launch_also_read: Vec<String>,
    /// Another origin of the EHR's authorization server, where its keys are elsewhere than the FHIR base; may be repeated
    #[arg(long = "launch-origin", value_name = "URL", requires = "launch_client_id", help_heading = "Launch")]
    launch_origins: Vec<Url>,
    /// An origin whose pages may show ours in a frame [default: the FHIR base's]; may be repeated
    #[arg(long = "frame-origin", value_name = "URL", requires = "launch_client_id", help_heading = "Launch")]
    frame_origins: Vec<Url>,
}

impl Launching {
    /// Whether a key of this installation is needed.
    pub(super) const fn signs(&self) -> bool {
        self.launch_sign
    }

    /// Puts it into a profile.
    pub(super) fn apply(self, profile: &mut Profile) -> Result<(), Failure> {
        let Some(client_id) = self.launch_client_id else { return Ok(()) };
        if let Some(pointer) = &self.launch_secret {
            SecretRef::parse(pointer).map_err(|e| Failure::usage(format!("--launch-secret: {e}")))?;
        }
        let grant = UserGrant { client_id, secret: self.launch_secret, key: self.launch_sign, ..UserGrant::default() };
        profile.launch = Some(Box::new(AppLaunch {
            auth: Auth::UserGrant(grant),
            scopes: (!self.launch_scopes.is_empty()).then_some(self.launch_scopes),
            also_read: self.launch_also_read,
            origins: self.launch_origins,
            framed_by: self.frame_origins,
        }));
        Ok(())
    }
}
