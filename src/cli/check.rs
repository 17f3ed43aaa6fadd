//! `check`: configuration, database, keys, programs and connections; every mistake at once. Each thing is looked at by itself, and nothing is
//! changed.

use clap::Args;

use domain::model::EhrId;

use super::exit::{Ended, Failure};
use super::{Common, print};
use crate::app::Look;
use crate::config::{Config, Mistake};
use crate::credentials::expiry::Urgency;
use crate::credentials::sealing::MasterKey;
use crate::ehr::profile::Profile;
use crate::store::installation::{self, Setting};
use crate::store::keys::SigningKey;
use crate::store::{Schema, Store, StoreError};

/// Check configuration, database, keys, programs and connections; tell all mistakes at once
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhir-engage check
  fhir-engage check --offline          without asking the EHRs
  fhir-engage check --example-config   print a configuration with every key and its default")]
pub(super) struct Check {
    /// Do not ask the EHRs
    #[arg(long)]
    offline: bool,
    /// Print an example configuration and end
    #[arg(long)]
    example_config: bool,
}

impl Check {
    pub(super) async fn run(self, common: &Common) -> Result<Ended, Failure> {
        if self.example_config {
            print::line(crate::config::example().trim_end());
            return Ok(Ended::Well);
        }
        let mut findings = Findings::default();
        let (config, mistakes) = Config::look(common.config.as_deref(), &common.data());
        mistakes.iter().for_each(|m| findings.problem("configuration", m.to_string()));
        match config {
            Some(config) => self.installation(common, config, &mistakes, &mut findings).await?,
            None => findings.warning("database", "not looked at: the configuration says where it is".to_owned()),
        }
        let well = !findings.0.iter().any(|f| f.level == "problem");
        if common.json {
            print::json(&serde_json::json!({ "ok": well, "findings": findings.0 }));
        } else {
            for f in &findings.0 {
                print::line(&format!("{:<8} {}: {}", f.level, f.about, f.says));
            }
            print::line(if well { "no problem found" } else { "problems were found; what to do stands beside each" });
        }
        Ok(Ended::well_if(well))
    }

    async fn installation(
        &self,
        common: &Common,
        mut config: Config,
        mistakes: &[Mistake],
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        if let Some(database) = &common.database {
            config.database.url = database.clone().into();
        }
        super::start_logs(&config, tracing::Level::WARN)?;
        let mistaken = |section: &str| mistakes.iter().any(|m| m.key.split('.').next() == Some(section));
        config.warnings().into_iter().for_each(|w| findings.warning("configuration", w));
        secrets(&config, findings);
        let database_is_known = common.database.is_some() || !mistaken("database");
        let look = Look::new(config, common.data());
        mail(&look, findings);
        definitions(&look, findings);
        let master = match look.master_key() {
            _ if mistaken("keys") => None,
            Ok(master) => master,
            Err(error) => {
                findings.problem("keys.master", error.to_string());
                None
            }
        };
        if database_is_known && let Some(store) = database(&look, findings) {
            let beyond = Beyond { look: &look, store: &store, master: master.as_ref(), offline: self.offline };
            if let Err(error) = beyond.look(findings).await {
                findings.problem("database", error.to_string());
            }
        }
        Ok(())
    }
}

#[derive(serde::Serialize)]
struct Finding {
    level: &'static str,
    about: String,
    says: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: &'static str, about: &str, says: String) {
        self.0.push(Finding { level, about: about.to_owned(), says });
    }

    fn problem(&mut self, about: &str, says: String) {
        self.add("problem", about, says);
    }

    fn warning(&mut self, about: &str, says: String) {
        self.add("warning", about, says);
    }

    fn ok(&mut self, about: &str, says: String) {
        self.add("ok", about, says);
    }
}

/// The secrets that the configuration points to, the master key aside: whether each can be read now. Their values are not looked at.
fn secrets(config: &Config, findings: &mut Findings) {
    let password = config.smtp.as_ref().and_then(|smtp| smtp.password.as_ref());
    for (key, secret) in [("web.bearer", config.web.bearer.as_ref()), ("smtp.password", password)] {
        if let Some(error) = secret.and_then(|s| s.resolve().err()) {
            findings.problem(key, crate::app::told(&error));
        }
    }
}

fn mail(look: &Look, findings: &mut Findings) {
    match look.mail() {
        Ok(true) => findings.ok("mail", "the mail server of [smtp] can be used; it was not called".to_owned()),
        Ok(false) => {}
        Err(error) => findings.problem("mail", error.to_string()),
    }
}

fn definitions(look: &Look, findings: &mut Findings) {
    let segments = match look.segments() {
        Ok(segments) => {
            findings.ok("segments", format!("{} definitions can be used", segments.len()));
            segments
        }
        Err(error) => return findings.problem("segments", error.to_string()),
    };
    match look.programs(&segments) {
        Ok(library) => findings.ok("programs", format!("{} programs can be used", library.programs.len())),
        Err(mistakes) => mistakes.0.iter().for_each(|m| findings.problem("programs", m.to_string())),
    }
}

/// The database, where it can be read as it is.
fn database(look: &Look, findings: &mut Findings) -> Option<Store> {
    let location = look.location();
    let engine = location.engine();
    match look.schema().and_then(|schema| if schema == Schema::Current { Ok((schema, Some(look.open()?))) } else { Ok((schema, None)) }) {
        Ok((Schema::Current, store)) => {
            findings.ok("database", format!("{engine} is reachable and its schema is up to date"));
            return store;
        }
        Ok((Schema::Absent, _)) => match look.no_way_to(&location) {
            Some(why) => findings.problem("database", why),
            None => {
                findings.warning("database", format!("{engine}: there is none yet; the first start, or `fhir-engage migrate`, makes it"))
            }
        },
        Ok((Schema::Behind(missing), _)) => {
            let lacks = print::plural(missing.len(), "migration");
            let says = format!("{engine}: the schema lacks {lacks}; run `fhir-engage migrate`, then check again what is in the database");
            findings.problem("database", says);
        }
        Err(error) => findings.problem("database", error.to_string()),
    }
    None
}

/// What is known only from the database.
struct Beyond<'a> {
    look: &'a Look,
    store: &'a Store,
    master: Option<&'a MasterKey>,
    offline: bool,
}

impl Beyond<'_> {
    async fn look(&self, findings: &mut Findings) -> Result<(), StoreError> {
        let live = self.store.read(|conn| installation::get(conn, Setting::Live)).await?;
        let live = live.as_deref() == Some("true");
        findings.ok(
            "outreach",
            if live { "live: messages leave this installation" } else { "not live: nothing leaves this installation" }.to_owned(),
        );
        if let Some((seconds, which)) = self.look.clock_apart(self.store).await? {
            findings.problem("clock", crate::app::StageError::Clock(seconds, which).to_string());
        }
        let signing = self.look.signing_keys(self.store).await?;
        self.keys(&signing, findings);
        let ehrs = self.look.ehrs(self.store).await?;
        if ehrs.is_empty() {
            findings.warning("EHRs", "none is registered; add one with `fhir-engage ehr add`".to_owned());
        }
        let mut sound = Vec::new();
        for (name, profile) in ehrs {
            let about = format!("EHR {name}");
            match profile {
                Ok((id, profile)) => {
                    self.ehr(&about, (&id, &profile), &signing, findings).await;
                    sound.push((id, profile));
                }
                Err(error) => findings.problem(&about, error.to_string()),
            }
        }
        for e in self.look.expiries(self.store, &sound).await? {
            let about = e.ehr.as_ref().map_or_else(|| "installation".to_owned(), |ehr| format!("EHR {ehr}"));
            let says = format!("{}{}", e.says, e.remedy.map(|r| format!("; {r}")).unwrap_or_default());
            match e.urgency {
                Urgency::Over => findings.problem(&about, says),
                Urgency::Soon => findings.warning(&about, says),
                Urgency::Later => findings.ok(&about, says),
            }
        }
        Ok(())
    }

    /// Whether each signing key opens with the master key, where that can be read.
    fn keys(&self, signing: &[SigningKey], findings: &mut Findings) {
        if signing.is_empty() {
            return;
        }
        let Some(master) = self.master else {
            if !findings.0.iter().any(|f| f.about == "keys.master") {
                let says = "the signing keys are sealed with the default master key, which is not there: put it back beside the database";
                findings.problem("keys.master", says.to_owned());
            }
            return;
        };
        let mut well = 0;
        for key in signing {
            match crate::app::open_key(key.clone(), master) {
                Ok(_) => well += 1,
                Err(error) => findings.problem(&format!("signing key {}", key.kid), error.to_string()),
            }
        }
        if well > 0 {
            findings.ok("signing keys", format!("{well} can be opened with the master key"));
        }
    }

    async fn ehr(&self, about: &str, ehr: (&EhrId, &Profile), signing: &[SigningKey], findings: &mut Findings) {
        let parts = match self.look.parts(self.store, ehr, self.master, signing) {
            Ok(Some(parts)) => parts,
            Ok(None) if self.master.is_none() && !signing.is_empty() => {
                return findings.problem(about, "its requests cannot be signed without the master key".to_owned());
            }
            Ok(None) => {
                let says = "there is no signing key yet; `fhir-engage keys jwks` makes one, and prints what to register with the EHR";
                return findings.problem(about, says.to_owned());
            }
            Err(error) => return findings.problem(about, error.to_string()),
        };
        if self.offline {
            return findings.ok(about, "its profile and credentials can be read".to_owned());
        }
        let report = crate::ehr::check::check(ehr.1, &parts).await;
        super::ehr::findings(&report).for_each(|(level, name, says)| findings.add(level, &format!("{about}, {name}"), says));
    }
}
