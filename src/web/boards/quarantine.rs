//! The quarantine: what could not be taken in, by reason, with another try. The bytes are a patient's data and are not shown here.

use actix_web::{HttpRequest, HttpResponse, web};
use domain::model::Right;

use super::connections::ehrs;
use super::{Card, Piece, Scene, Source, list_page};
use crate::store::view::listing::QUARANTINE;
use crate::web::Served;
use crate::web::list::{Button, Cell, Column, Labels, Row};
use crate::web::notice::Notice;
use crate::web::viewer::Viewer;

/// The page.
pub async fn page(served: web::Data<Served>, viewer: web::ReqData<Viewer>, request: HttpRequest) -> Result<HttpResponse, Notice> {
    let scene = Scene::of(&served, &viewer, &request).await?;
    let aside = served.queue().await?.aside.clone();
    let mut codes: Vec<String> = aside.iter().map(|a| a.code.clone()).collect();
    codes.sort_unstable();
    codes.dedup();
    let columns = vec![
        Column::text("n", "Row").sorts(),
        Column::text("ehr", "EHR").one_of(ehrs(&served).await?),
        Column::text("type", "Type"),
        Column::text("code", "Reason").one_of(codes),
        Column::text("reason", "In words").long(),
        Column::number("times", "Seen"),
        Column::text("first", "First"),
        Column::text("last", "Last"),
    ];
    let asked = scene.asked(&columns)?;
    let ehr = asked.filter("ehr").map(str::to_owned);
    let labels = Labels {
        caption: "What was put aside, the latest first",
        empty: "Nothing is put aside. What cannot be taken in will stand here with its reason, and can be tried again.",
        file: "quarantine",
    };
    let may = viewer.may(Right::ReplayQuarantine);
    let list = scene
        .listed(Source::of(&QUARANTINE), labels, columns, asked, |v| {
            let (n, ehr) = (v.number("n").to_string(), v.text("ehr").to_owned());
            let cells = vec![
                Cell::text(n.clone()),
                Cell::text(ehr.clone()),
                Cell::text(v.text("type")),
                Cell::text(v.text("code")),
                Cell::text(v.text("reason")),
                Cell::Number(v.number("times")),
                scene.at(v.number("first")),
                scene.at(v.number("last")),
            ];
            let act = Button::new("/quarantine/replay", "Try again", format!("row {n}")).with("ehr", ehr).with("id", n);
            Row { cells, acts: if may { vec![act] } else { Vec::new() } }
        })
        .await?;
    let mut board = scene
        .board("/connections", "Quarantine")
        .lead("What could not be taken in is kept as it came. After its cause was put right, in the EHR or by an upgrade, try it again.");
    if may && list.as_csv().is_none() {
        let all: Vec<String> = aside.iter().map(|a| a.ehr.clone()).filter(|name| ehr.as_ref().is_none_or(|e| e == name)).collect();
        let mut names = all;
        names.dedup();
        let acts: Vec<Button> = names
            .into_iter()
            .map(|name| Button::new("/quarantine/replay", "Try all of an EHR again", name.clone()).with("ehr", name))
            .collect();
        if let [_] = acts.as_slice() {
            board = board.card(Card::wide("All at once").with(Piece::Acts(viewer.csrf.clone(), acts)));
        }
    }
    list_page(board, "Put aside", &list)
}
