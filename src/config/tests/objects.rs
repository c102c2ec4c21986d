//! Object stores: where models may be, and whose keys are used.

use super::*;

#[test]
fn a_model_is_in_a_store_or_a_directory_and_its_keys_are_secrets() {
    let text = "[registry.objects]\npoll_interval = \"5s\"\n\
                [registry.s3]\nendpoint = \"http://127.0.0.1:9000\"\nallow_http = true\nregion = \"eu-central-1\"\n\
                access_key_id = { env = \"ID\" }\nsecret_access_key = { file = \"/run/token\" }\nca_file = \"ca.pem\"\n\
                [registry.gcs]\nservice_account = \"key.json\"\n[registry.azure]\naccount = \"acc1\"\nanonymous = true\n\
                [models.a]\nsource = \"s3://bucket/a\"\nroles = { live = \"stable\" }\n[models.b]\nsource = \"/srv/b\"\n\
                [models.c]\nsource = \"abfss://c@acc1.dfs.core.windows.net/c\"\n";
    let config = Given::file(text).variables(&[("ID", "somebody")]).load().unwrap();
    let objects = &config.registry.objects;
    let keys = objects.s3.access_key_id.as_ref().zip(objects.s3.secret_access_key.as_ref()).unwrap();
    assert_eq!((keys.0.expose(), keys.1.expose()), ("somebody", "from-the-file"));
    assert_eq!((objects.poll_interval, objects.s3.virtual_hosted), (Duration::from_secs(5), false));
    assert!(objects.azure.anonymous && objects.gcs.service_account.is_some());
    let debug = format!("{config:?}");
    assert!(!debug.contains("from-the-file") && !debug.contains("somebody"), "{debug}");
    let source = |model: &str| config.model(model).source.unwrap();
    assert_eq!((source("b").uri.as_str(), source("a").is_of_mlflow()), ("/srv/b", false));
    assert_eq!(source("a").roles, [("live".to_owned(), Role::Stable)].into());
    assert_eq!(Config::default().registry.objects.poll_interval, Duration::from_secs(30));
}

#[test]
fn what_is_wrong_with_a_store_is_said_at_once() {
    let text = "[registry.s3]\nendpoint = \"http://127.0.0.1:9000\"\nsecret_access_key = { env = \"KEY\" }\nbukcet = 1\n\
                [models.a]\nsource = \"ftp://host/a\"\n[models.b]\nsource = \"relative/b\"\n\
                [models.c]\nsource = \"s3://bucket/c\"\nrequire_tags = [\"approved\"]\n";
    let problems = Given::file(text).variables(&[("KEY", "hunter2")]).load().unwrap_err().to_string();
    for said in [
        "access_key_id and secret_access_key go together",
        "needs allow_http = true",
        "unknown key \"bukcet\"",
        "models.a.source",
        "models.b.source",
        "have no tags",
    ] {
        assert!(problems.contains(said), "{said}: {problems}");
    }
    assert!(!problems.contains("hunter2"), "{problems}");
    let anonymous =
        "[registry.s3]\nanonymous = true\naccess_key_id = { env = \"KEY\" }\nsecret_access_key = { env = \"KEY\" }";
    let problems = Given::file(anonymous).variables(&[("KEY", "x")]).load().unwrap_err().to_string();
    assert!(problems.contains("anonymous requests have no key"), "{problems}");
}
