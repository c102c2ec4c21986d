//! Orders and views, with somebody at the far end of the desk who answers as told.

use super::*;
use crate::error::{Blamed, Fault};
use crate::rollout::{ExplainedEntry, Pause, Phase, test_support};
use std::sync::Arc;
use tokio::sync::mpsc;

fn view(model: &str) -> RolloutView {
    test_support::view(model, Phase::Canary { step: 1 }, Some(Pause::Gate))
}

/// What an order with a body becomes, or why it does not.
fn order(name: &str, body: &str) -> Result<(Order, Option<u64>), String> {
    read_order(name, body.as_bytes()).map_err(|error| {
        assert_eq!(error.fault(), Fault::InvalidRequest);
        error.to_string()
    })
}

#[test]
fn an_order_needs_no_body_and_may_be_bound_to_a_generation() {
    let orders = [
        ("start", Order::Start { target: None, test: None }),
        ("pause", Order::Pause),
        ("resume", Order::Resume),
        ("promote", Order::Promote),
        ("abort", Order::Abort),
    ];
    for (name, expected) in orders {
        for body in ["", " \n", "{}"] {
            assert_eq!(order(name, body), Ok((expected.clone(), None)), "{name} {body:?}");
        }
        assert_eq!(order(name, "{\"generation\":7}"), Ok((expected, Some(7))), "{name}");
    }
}

#[test]
fn a_start_may_name_a_version_as_a_number_or_as_answers_have_it() {
    for body in ["{\"version\":12}", "{\"version\":\"12\"}"] {
        assert_eq!(order("start", body), Ok((Order::Start { target: Some(12), test: None }, None)));
    }
    for body in ["{\"version\":\"012\"}", "{\"version\":-1}", "{\"version\":1.5}", "{\"version\":\"\"}"] {
        assert!(order("start", body).is_err(), "{body}");
    }
    assert!(order("pause", "{\"version\":2}").unwrap_err().contains("unknown field `version`"));
}

#[test]
fn a_test_has_a_share_of_both_and_a_question_that_can_be_answered() {
    let test = |weight: &str, question: &str| {
        order("start", &format!("{{\"test\":{{\"weight\":{weight},\"question\":\"{question}\"}}}}"))
    };
    for question in ["errors", "latency", "output/probabilities[1]"] {
        let Ok((Order::Start { target: None, test: Some(plan) }, None)) = test("50", question) else { panic!() };
        assert_eq!((plan.weight.to_bits(), plan.question.as_str()), (50_f64.to_bits(), question));
    }
    for weight in ["0", "100", "-1", "0.005"] {
        assert!(test(weight, "errors").unwrap_err().starts_with("test.weight: "), "{weight}");
    }
    for question in ["", "revenue", "output/"] {
        assert!(test("50", question).unwrap_err().contains("output/<column>"), "{question}");
    }
    assert!(order("start", "{\"test\":{\"weight\":50}}").unwrap_err().contains("question"));
}

/// Takes one message and answers it.
async fn drive(mut messages: mpsc::Receiver<Message>, answer: Result<RolloutView, OrderError>) -> Message {
    let message = messages.recv().await.unwrap();
    match message {
        Message::Order(OrderRequest { model, order, by, generation, reply }) => {
            reply.send(answer).unwrap();
            let (reply, _) = oneshot::channel();
            Message::Order(OrderRequest { model, order, by, generation, reply })
        }
        Message::Explain { model, id, reply } => {
            let entry = ExplainedEntry {
                sequence: 1,
                at: 1_000,
                summary: "begun".to_owned(),
                entry: json!({}),
                replayed: Some(true),
                judged: None,
            };
            reply.send(answer.map(|rollout| Explanation { rollout, entries: vec![entry] })).unwrap();
            let (reply, _) = oneshot::channel();
            Message::Explain { model, id, reply }
        }
    }
}

#[tokio::test]
async fn an_order_is_answered_with_what_became_of_it() {
    let (desk, messages) = RolloutDesk::new();
    let by = "operator at 10.0.0.3:5000".to_owned();
    let asked = send(&desk, "churn", (Order::Promote, Some(7)), by.clone(), ORDER_PATIENCE);
    let (answer, message) = tokio::join!(asked, drive(messages, Ok(view("churn"))));
    assert_eq!(answer, Ok(view("churn")));
    let Message::Order(request) = message else { panic!() };
    assert_eq!(
        (request.model.as_str(), request.order, request.by, request.generation),
        ("churn", Order::Promote, by, Some(7))
    );

    let (desk, messages) = RolloutDesk::new();
    let stale = OrderError::Stale { expected: 7, found: 8 };
    let asked = send(&desk, "churn", (Order::Pause, Some(7)), String::new(), ORDER_PATIENCE);
    let (answer, _) = tokio::join!(asked, drive(messages, Err(stale.clone())));
    let refused = AdminError::from(answer.unwrap_err());
    assert_eq!((refused.fault(), refused.to_string()), (Fault::Conflict, stale.to_string()));
}

#[tokio::test]
async fn an_order_that_nobody_takes_or_answers_is_told_and_not_waited_for() {
    let (desk, messages) = RolloutDesk::new();
    let abort = async || send(&desk, "churn", (Order::Abort, None), String::new(), Duration::ZERO).await.unwrap_err();
    let unanswered = abort().await;
    assert!(matches!(&unanswered, OrderError::Unavailable(text) if text.contains("GET /api/v1/rollouts/churn")));
    drop(messages);
    assert_eq!(abort().await.fault(), Fault::Unavailable);
}

#[tokio::test]
async fn an_explanation_is_that_of_the_rollout_that_is_named() {
    let (desk, messages) = RolloutDesk::new();
    let asked = explain(&desk, "churn", Some("3f9a".to_owned()));
    let (explained, message) = tokio::join!(asked, drive(messages, Ok(view("churn"))));
    assert_eq!(explained.unwrap().entries[0].replayed, Some(true));
    assert!(matches!(message, Message::Explain { id: Some(id), .. } if id == "3f9a"));
    assert_eq!(
        [None, Some(""), Some("id=3f9a")].map(|query| id_of(query).unwrap()),
        [None, None, Some("3f9a".to_owned())]
    );
    for query in ["id=", "id=a/b", "id=a&id=b", "rollout=3f9a"] {
        assert!(id_of(Some(query)).unwrap_err().to_string().contains("id=<of a rollout>"), "{query}");
    }
}

#[test]
fn a_list_has_every_model_with_its_figures() {
    let figures = DeliveryFigures { promoted: 3, rolled_back: 1, ..DeliveryFigures::default() };
    let posted = Posted {
        rollouts: ["a", "b"].map(|model| (model.to_owned(), Arc::new(view(model)))).into(),
        figures: [("b".to_owned(), figures)].into(),
    };
    let list = list(&posted);
    assert_eq!((&list["rollouts"][0]["model"], &list["rollouts"][0]["figures"]["promoted"]), (&json!("a"), &json!(0)));
    let second = &list["rollouts"][1];
    assert_eq!((&second["phase"], &second["pause"]), (&json!({ "name": "canary", "step": 1 }), &json!("gate")));
    assert_eq!((&second["figures"]["promoted"], &second["target"]), (&json!(3), &json!(2)));
    let read: RolloutView = serde_json::from_value(second.clone()).unwrap();
    assert_eq!(read, view("b"), "whoever reads it back ignores the figures");
}
