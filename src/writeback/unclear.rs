//! What became of earlier tries that may have arrived: they are looked for wherever they may have been put, and where that cannot be seen a
//! person has to look. Sends nothing.

use serde_json::Value;

use super::chart::{Chart, SearchFailed};
use super::contract::{Carrier, Finder, Route, Terms};
use super::find::{inbox, query};
use super::likeness::may_be;
use super::push::{Pushed, Signal, Try};
use super::settle::Sighting;
use crate::store::writebacks::Settlement;

/// Tries after which one that a search does not find is left to a person, where this EHR was never seen to keep our key.
const UNSEEN: i64 = 6;

impl<C: Chart> Try<'_, C> {
    /// What became of earlier tries that may have arrived; `None` where the way is free.
    pub(super) async fn settled(&self) -> Option<Pushed> {
        if !self.letter.unclear {
            return None;
        }
        let mut parked = None;
        for carrier in self.places() {
            let settled = match (carrier.resource_type(), self.contract.terms(carrier)) {
                (Some(resource_type), Some(terms)) => self.settled_as(carrier, resource_type, terms).await,
                _ if carrier == Carrier::Route => self.settled_by_route().await,
                // A file that is written again is the same file.
                _ => None,
            };
            match settled.map(|pushed| Pushed { carrier, ..pushed }) {
                // It may yet be found in another place.
                Some(pushed) if matches!(pushed.settlement, Settlement::Parked { .. }) => drop(parked.get_or_insert(pushed)),
                Some(pushed) => return Some(pushed),
                None => {}
            }
        }
        parked.or_else(|| self.out_of_sight())
    }

    /// By what it was last tried, where that is known for certain: a worker that died did not say it.
    fn known(&self) -> Option<Carrier> {
        self.letter.put_as.as_ref().and(self.letter.tried)
    }

    /// Where it may have been put. Where nobody knows, that is all that can be searched, whatever the chain says by now.
    fn places(&self) -> Vec<Carrier> {
        // It goes by no chain, and nothing else goes by it.
        if self.letter.carrier == Carrier::Provenance {
            return vec![Carrier::Provenance];
        }
        let mut all = match self.known() {
            Some(tried) => vec![tried],
            None => Carrier::ALL.into_iter().filter(|c| *c != Carrier::Provenance && self.is_searchable(*c)).collect(),
        };
        for carrier in self.letter.tried.into_iter().chain([self.letter.carrier]) {
            if !all.contains(&carrier) {
                all.push(carrier);
            }
        }
        all
    }

    fn is_searchable(&self, carrier: Carrier) -> bool {
        match carrier {
            Carrier::Route => self.contract.route.as_ref().is_some_and(|route| route.find.is_some()),
            _ => self.contract.terms(carrier).is_some_and(|terms| terms.finder().is_some()),
        }
    }

    /// Where nobody knows by what it was tried, and something that may have been it cannot be searched: a person has to look.
    fn out_of_sight(&self) -> Option<Pushed> {
        if self.known().is_some() || self.letter.carrier == Carrier::Provenance {
            return None;
        }
        let puts = |c: &Carrier| match c {
            Carrier::Route => self.contract.route.is_some(),
            _ => self.contract.terms(*c).is_some(),
        };
        let used = self.contract.used.iter();
        let named = used.clone().filter_map(|way| Carrier::parse(way.split(' ').next()?));
        let may_be = self.contract.chain.iter().chain(&self.contract.preset_chain).copied().chain(named);
        if let Some(hidden) = may_be.filter(puts).find(|c| !self.is_searchable(*c)) {
            let why = format!("no-search: it may have gone by {}, which this EHR has no search for that could tell", hidden.as_str());
            return Some(Pushed { carrier: hidden, ..self.parked(&why) });
        }
        let route = self.contract.way(Carrier::Route);
        used.filter(|way| way.starts_with("route ")).any(|way| Some(way) != route.as_ref()).then(|| {
            let why = "settings-changed: it may have gone by a route that this EHR had before, and nothing here can look there";
            Pushed { carrier: Carrier::Route, ..self.parked(why) }
        })
    }

    /// How it is put by a carrier and looked for there, in short. After a change of it, a search looks where it was not put.
    pub(super) fn put_as(&self, carrier: Carrier) -> Option<String> {
        if carrier == Carrier::Route {
            return self.contract.route.as_ref().map(Route::mark);
        }
        let terms = self.contract.terms(carrier)?;
        let finder = terms.finder();
        let found_by = finder.map_or_else(|| "nothing".to_owned(), |f| f.params().join("+"));
        let place =
            self.resource.as_ref().filter(|_| finder == Some(Finder::InboxReceived) && carrier == self.letter.carrier).and_then(inbox);
        let place = place.map(|(category, recipient)| format!(" {}", mark(&format!("{category} {recipient}")))).unwrap_or_default();
        Some(format!("{} by {found_by}{place}", terms.key.as_str()))
    }

    /// Whether it was last put by this carrier, and in another way than it would be now.
    fn was_put_otherwise(&self, carrier: Carrier) -> bool {
        self.known() == Some(carrier) && self.letter.put_as != self.put_as(carrier)
    }

    /// A search that looks where it was not put proves nothing by not finding it.
    pub(super) fn parked_as_changed(&self, carrier: Carrier) -> Option<Pushed> {
        self.was_put_otherwise(carrier).then(|| {
            self.parked(
                "settings-changed: where this EHR's write-backs are put or searched for was changed after it was tried, so a search that does not find it proves nothing",
            )
        })
    }

    async fn settled_as(&self, carrier: Carrier, resource_type: &str, terms: &Terms) -> Option<Pushed> {
        Some(match self.look(carrier, resource_type, terms).await {
            None => self.parked("no-search: this EHR has no search that could tell whether an earlier try arrived"),
            Some(Ok(Sighting::Once(found))) => self.found(found),
            Some(Ok(Sighting::Several(n))) => self.doubled(n),
            Some(Ok(Sighting::Absent)) => {
                return match self.parked_as_changed(carrier) {
                    None => self.not_seen(carrier, resource_type, terms).await,
                    parked => parked,
                };
            }
            Some(Ok(Sighting::Doubtful)) => {
                self.parked("search-not-trusted: the EHR's search did not find it and may not show everything, so it cannot tell whether an earlier try arrived")
            }
            // It may not even be asked for: a type that is never written here.
            Some(Err(SearchFailed::Refused(_))) if self.is_far_fetched(carrier, terms) => return None,
            Some(Err(SearchFailed::Refused(why))) => {
                self.parked(&format!("search-refused: {why}; so it cannot be told whether an earlier try arrived"))
            }
            Some(Err(failed)) => self.search_failed(failed),
        })
    }

    /// Nothing says that this EHR was ever written to by this carrier.
    fn is_far_fetched(&self, carrier: Carrier, terms: &Terms) -> bool {
        let mut named =
            self.contract.chain.iter().chain(&self.contract.preset_chain).chain(&self.letter.tried).chain([&self.letter.carrier]);
        terms.key_kept.is_none() && !named.any(|c| *c == carrier)
    }

    /// A search by our key does not find it. That proves something only where this EHR was seen to keep our key; else it is looked whether
    /// anything is there that may be it without its key.
    async fn not_seen(&self, carrier: Carrier, resource_type: &str, terms: &Terms) -> Option<Pushed> {
        // A carrier that it would not go by now, nor is known to have gone by, and of which this EHR never showed one.
        let far_fetched = carrier != self.letter.carrier && Some(carrier) != self.letter.tried && terms.key_kept.is_none();
        if terms.key_kept == Some(true) || far_fetched {
            return None;
        }
        let ours = self.resource.as_ref().filter(|_| carrier == self.letter.carrier);
        if let (Some(ours), Some(query)) = (ours, self.without_key(terms)) {
            match self.chart.search(resource_type, &query).await {
                Ok(all) if !all.doubtful && !all.entries.iter().any(|e| self.may_be(ours, &e.bytes)) => return None,
                Ok(_) => {
                    return Some(self.parked("key-not-seen: something is there that may be it, and this EHR was not seen to keep our key"));
                }
                Err(SearchFailed::Refused(_)) => {}
                Err(failed) => return Some(self.search_failed(failed)),
            }
        }
        if terms.key_kept.is_none() && self.letter.tries < UNSEEN {
            let unknown = self.unknown("key-not-seen: it was not seen yet whether this EHR keeps our key");
            // The EHR answers; it is we who do not know enough. Another row may show it by then.
            return Some(Pushed { signal: Signal::Fine, ..unknown });
        }
        Some(self.parked("key-not-kept: this EHR was not seen to keep our key, so no search can tell whether an earlier try arrived"))
    }

    /// A search that does not ask for our key, where the contract has one.
    fn without_key(&self, terms: &Terms) -> Option<Vec<(&'static str, String)>> {
        let patient = terms.finders.iter().any(|f| f.params().contains(&"patient")).then_some(Finder::Patient);
        let finder = patient.or_else(|| terms.finder().filter(|f| !f.asks_for_our_key()))?;
        query(finder, &self.wanted(self.letter.carrier))
    }

    fn may_be(&self, ours: &Value, bytes: &[u8]) -> bool {
        serde_json::from_slice(bytes).map_or(true, |there| may_be(ours, &there, &self.letter.system))
    }
}

/// Tells two texts apart without saying what they are: a recipient may be a person.
fn mark(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect()
}
