//! The book of alerts as rows, and back, so that an incident that outlives the process keeps its id.
//!
//! Times are unix time: the conditions of an open alert have then held through the restart, not begun anew with it.
//!
//! Invariant: a row that cannot be read costs that row; no two open alerts are of one subject.

use super::state::{AlertBook, ENDED_LIMIT, Open};
use super::{Alert, Subject};
use crate::store::AlertRow;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a row's body holds.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    alert: Alert,
    breach_since: Option<Duration>,
    clear_since: Option<Duration>,
}

impl AlertBook {
    /// All alerts, open ones first.
    #[must_use]
    pub fn rows(&self) -> Vec<AlertRow> {
        let open = self.open.values().map(|open| Body {
            alert: open.alert.clone(),
            breach_since: Some(open.breach_since),
            clear_since: open.clear_since,
        });
        let ended = self.ended.iter().map(|alert| Body { alert: alert.clone(), breach_since: None, clear_since: None });
        let row = |body: Body| {
            let text = serde_json::to_string(&body).ok()?;
            Some(AlertRow { id: body.alert.id, open: body.breach_since.is_some(), body: text })
        };
        open.chain(ended).filter_map(row).collect()
    }

    /// The book that was written as these rows.
    #[must_use]
    pub fn from_rows(rows: &[AlertRow]) -> Self {
        let mut book = Self::default();
        for row in rows {
            let body = match serde_json::from_str::<Body>(&row.body) {
                Ok(body) => body,
                Err(error) => {
                    tracing::warn!(id = row.id, cause = %error, "a stored alert cannot be read");
                    continue;
                }
            };
            match (body.breach_since, subject_of(&body.alert)) {
                (Some(breach_since), Some(subject)) => {
                    let open = Open { alert: body.alert, breach_since, clear_since: body.clear_since };
                    book.open.entry(subject).or_insert(open);
                }
                _ if book.ended.len() < ENDED_LIMIT => book.ended.push_back(body.alert),
                _ => {}
            }
        }
        book
    }
}

fn subject_of(alert: &Alert) -> Option<Subject> {
    Some(Subject {
        rule: alert.rule,
        model: alert.model.clone(),
        version: alert.version.parse().ok()?,
        feature: alert.feature.clone(),
    })
}
