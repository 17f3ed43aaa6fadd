//! Sign-in by the site's own provider: npm `oidc-provider`, a certified one, which is nobody of ours.

use domain::model::{Right, Role};
use url::Url;

use crate::credentials::oidc::{Server as Provider, browses};
use crate::support::{Backend, Database, TempDir};
use crate::web::fixture::Server;
use std::sync::Arc;

use fhir_engage::app::App;
use fhir_engage::config::Config;
use fhir_engage::web;
use fhir_engage::worker::Stop;

struct World {
    app: Arc<App>,
    ours: Server,
    provider: Provider,
    stop: Stop,
    db: Database,
    _data: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.request();
    }
}

impl World {
    /// `None` where the provider is not installed here, which has been reported then.
    async fn begin(roles: &str) -> Option<Self> {
        let db = Database::fresh(Backend::Sqlite).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = TempDir::new();
        let text = format!(
            "[staff]\nroles = {roles}\n[staff.oidc]\nissuer = \"http://127.0.0.1:{port}\"\nclient_id = \"desk\"\nscopes = [\"openid\"]\n"
        );
        std::fs::write(data.join("fhir-engage.toml"), text).unwrap();
        let mut config = Config::load(None, data.path()).unwrap();
        config.database.url = db.argument().into();
        let app = Arc::new(App::open(config, data.path()).unwrap());
        let stop = Stop::new();
        let (address, _) = web::serve(app.web_state(None).unwrap(), "127.0.0.1:0".parse().unwrap(), stop.clone()).unwrap();
        let provider = Provider::start_on(port, "{\"keys\":[]}", &format!("http://{address}/signin/callback"))?;
        Some(Self { app, ours: Server::seen_at(address), provider, stop, db, _data: data })
    }

    /// Goes to the provider and comes back; the cookie that binds it, and where the browser is sent to in the end.
    fn comes_back(&self, to: &str) -> Url {
        browses(&to.parse().unwrap(), &format!("http://{}/", self.ours.address))
    }
}

fn cookie(set: &str) -> String {
    set.split(';').next().unwrap().to_owned()
}

fn path(url: &Url) -> String {
    url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_signs_in_and_comes_back_to_where_they_were() {
    let Some(world) = World::begin("[\"sub:person = operator, auditor\"]").await else { return };
    let ways = world.ours.get("/signin?back=%2Fnowhere").await;
    assert!(ways.body.contains("/signin/provider?back=%2Fnowhere"), "{}", ways.body);
    let begun = world.ours.get("/signin/provider?back=%2Fnowhere").await;
    assert_eq!(begun.status, 303, "{}", begun.body);
    let bound = cookie(&begun.headers["set-cookie"]);
    let back = world.comes_back(&begun.headers["location"]);
    // In another browser it is worth nothing.
    assert_eq!(world.ours.get(&path(&back)).await.status, 400);
    let landed = world.ours.send("GET", &path(&back), &[("Cookie", &bound)]).await;
    assert_eq!((landed.status, landed.headers["location"].as_str()), (303, "/nowhere"), "{}", landed.body);
    let session = cookie(&landed.headers["set-cookie"]);
    let overview = world.ours.send("GET", "/", &[("Cookie", &session)]).await;
    assert!(overview.status == 200 && overview.body.contains("(operator, auditor)"), "{}", overview.body);
    let value = session.split_once('=').unwrap().1;
    let who = world.app.sessions().find(value).await.unwrap().unwrap().who;
    assert_eq!((who.subject.as_str(), who.issuer.as_str()), ("person", world.provider.url("").as_str().trim_end_matches('/')));
    assert!(who.roles.may(Right::RunSync) && !who.roles.has(Role::Clinician));
    // Played again it is over.
    assert_eq!(world.ours.send("GET", &path(&back), &[("Cookie", &bound)]).await.status, 400);
    assert_eq!(world.db.lines("SELECT way AS line FROM session"), ["oidc"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_no_rule_names_is_not_let_in() {
    let Some(world) = World::begin("[\"groups:ops = operator\"]").await else { return };
    let begun = world.ours.get("/signin/provider").await;
    let back = world.comes_back(&begun.headers["location"]);
    let refused = world.ours.send("GET", &path(&back), &[("Cookie", &cookie(&begun.headers["set-cookie"]))]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("no role here") && !refused.headers.contains_key("set-cookie"), "{}", refused.body);
    assert!(world.db.lines("SELECT id AS line FROM session").is_empty());
    // Its answer is not that of a launch, and the other way round.
    let begun = world.ours.get("/signin/provider").await;
    let back = world.comes_back(&begun.headers["location"]);
    let crossed = path(&back).replace("/signin/callback", "/callback");
    assert_eq!(world.ours.send("GET", &crossed, &[("Cookie", &cookie(&begun.headers["set-cookie"]))]).await.status, 400);
}
