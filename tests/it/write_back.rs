//! What a rollout tells a registry, told to a real MLflow server.

use crate::support::mlflow::MlflowServer;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::registry::mlflow::{MlflowAccess, MlflowClient, MlflowSource, default_roles};
use tidegate::registry::source::{Source, SourceError};
use tidegate::rollout::write_back::{self, Told};
use tidegate::rollout::{Phase, RolloutView};

/// A name with a blank, as MLflow allows.
const NAME: &str = "breast cancer";

fn client(server: &MlflowServer) -> Arc<MlflowClient> {
    let access = MlflowAccess {
        url: server.url().parse().unwrap(),
        credentials: None,
        certificate_authority: None,
        timeout: Duration::from_secs(60),
    };
    Arc::new(MlflowClient::new(access).unwrap())
}

/// Version 2 after version 1, where it stands.
fn view(phase: Phase, weight: f64, reason: &str) -> RolloutView {
    RolloutView {
        id: "3f9a1c".to_owned(),
        model: "cancer".to_owned(),
        target: 2,
        digest: None,
        stable: 1,
        generation: 1,
        phase,
        pause: None,
        weight,
        started_at: 0,
        since: 0,
        ended_at: None,
        reason: reason.to_owned(),
        progress: None,
        judgement: None,
        guards: None,
        shadow: None,
        test: None,
        problem: None,
    }
}

/// Writes what is due, as whoever drives rollouts does; what the registry has been told then.
async fn tell(client: &MlflowClient, view: &RolloutView, last: Option<Told>) -> Option<Told> {
    let wanted = write_back::wanted(view, Some("champion"));
    let Some(due) = write_back::due(&wanted, last.as_ref()) else { return last };
    client.write(NAME, due.version, &due.tags).await.unwrap();
    if let Some(alias) = &due.alias {
        client.set_alias(NAME, alias, due.version).await.unwrap();
    }
    Some(wanted)
}

#[tokio::test]
async fn a_real_mlflow_server_is_told_of_every_step_and_its_champion_moves_at_the_end() {
    let server = MlflowServer::start().await;
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/breast-cancer/1/model.onnx");
    server.register(&model, NAME);
    let client = client(&server);
    let uri = format!("models:/{NAME}").parse().unwrap();
    let source = MlflowSource::new(Arc::clone(&client), uri, default_roles());
    let tag = async |key: &str| source.offer().await.unwrap().versions[&2].tags.get(key).cloned();

    let reason = "errors: 12 of 3,000 against 11 of 57,000; \"no worse\"\nby much";
    let told = tell(&client, &view(Phase::Canary { step: 0 }, 1.0, reason), None).await;
    let offer = source.offer().await.unwrap();
    let tags = &offer.versions[&2].tags;
    let said = |key: &str| tags.get(&format!("tidegate.rollout.{key}")).map(String::as_str);
    assert_eq!(
        [said("state"), said("weight"), said("verdict"), said("reason")],
        [Some("canary"), Some("1"), Some("not_enough_data"), Some(reason)]
    );
    assert_eq!(tags["approved by"], "Ada, \"Grace\"", "what others wrote stays");
    assert_eq!(offer.roles.stable, Some(1), "the alias does not move before the end");

    let told = tell(&client, &view(Phase::Baking, 100.0, "promoted"), told).await;
    assert_eq!(tag("tidegate.rollout.weight").await.as_deref(), Some("100"));
    let done = view(Phase::Done, 100.0, "baked");
    tell(&client, &done, told.clone()).await;
    // As after an answer that was lost.
    tell(&client, &done, told).await;
    assert_eq!(source.offer().await.unwrap().roles.stable, Some(2));
    assert_eq!(tag("tidegate.rollout.state").await.as_deref(), Some("done"));
    what_is_not_there_cannot_be_told(&client).await;
    server.stop().await;
}

async fn what_is_not_there_cannot_be_told(client: &MlflowClient) {
    let tags = [("tidegate.rollout.state".to_owned(), "canary".to_owned())].into();
    let refused = [
        client.write(NAME, 99, &tags).await,
        client.write("nobody", 1, &tags).await,
        client.set_alias(NAME, "champion", 99).await,
    ];
    for error in refused.map(Result::unwrap_err) {
        assert!(matches!(&error, SourceError::Absent { what, .. } if what.contains("of model")), "{error}");
        assert!(!error.may_pass(), "{error}");
    }
}
