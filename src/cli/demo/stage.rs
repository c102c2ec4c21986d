//! The demo's repository: the shipped versions of `churn`, in a temporary directory.
//!
//! They are part of the binary, so that the demo runs wherever the binary does.
//!
//! Invariant: the directory is removed when the stage is.

use crate::config::{Config, Environment, Overrides, SourceFile, Sources};
use crate::profile::Profile;
use crate::registry::{MODEL_FILE, PROFILE_FILE};
use std::fs;
use std::path::Path;

const FIRST: (&[u8], &[u8]) =
    (include_bytes!("../../../models/churn/1/model.onnx"), include_bytes!("../../../models/churn/1/profile.json"));
const SECOND: (&[u8], &[u8]) =
    (include_bytes!("../../../models/churn/2/model.onnx"), include_bytes!("../../../models/churn/2/profile.json"));

/// A repository with versions 1 and 2, and a third one ready to be renamed into it.
pub(super) struct Stage {
    root: tempfile::TempDir,
}

impl Stage {
    /// Writes the repository.
    pub(super) fn build() -> Result<Self, String> {
        let root = tempfile::tempdir().map_err(cannot_write)?;
        let stage = Self { root };
        let churn = stage.root.path().join("models/churn");
        write_version(&churn.join("1"), FIRST)?;
        write_version(&churn.join("2"), SECOND)?;
        write_version(&stage.root.path().join("third"), SECOND)?;
        Ok(stage)
    }

    /// Settings of the demo: free ports, a window of 10 s, and a split that keeps version 2 waiting.
    pub(super) fn config(&self) -> Result<Config, String> {
        let repository = self.root.path().join("models");
        let text = format!(
            "[server]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [repository]\npath = {:?}\npoll_interval = \"200ms\"\n\
             [state]\npath = {:?}\n\
             [drift]\nwindow = \"10s\"\nmin_samples = 350\nresolve_after = \"2s\"\n\
             [models.churn]\nsplit = {{ \"1\" = 100 }}\n",
            repository.display().to_string(),
            self.root.path().join("state").display().to_string()
        );
        let sources = Sources {
            file: Some(SourceFile { name: "demo", text: &text }),
            environment: &Environment::default(),
            overrides: &Overrides::default(),
            read_secret: &|path| fs::read_to_string(path),
        };
        Config::load(&sources).map_err(|problems| problems.to_string())
    }

    /// Renames version 3 into place, whole at once.
    pub(super) fn publish_third(&self) -> Result<(), String> {
        fs::rename(self.root.path().join("third"), self.root.path().join("models/churn/3")).map_err(cannot_write)
    }

    /// A feature's standard deviation in the training data of the version that serves when it is shifted.
    #[expect(clippy::cast_possible_truncation, reason = "a shift needs no more precision than the feature has")]
    pub(super) fn deviation(&self, feature: &str) -> Result<f32, String> {
        let profile = Profile::from_json(SECOND.1).map_err(|error| error.to_string())?;
        let column = profile.inputs.iter().find(|column| column.name == feature);
        let deviation = column.and_then(|column| column.std).ok_or(format!("the profile has no {feature}"))?;
        Ok(deviation as f32)
    }
}

fn write_version(directory: &Path, (model, profile): (&[u8], &[u8])) -> Result<(), String> {
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(directory.join(MODEL_FILE), model))
        .and_then(|()| fs::write(directory.join(PROFILE_FILE), profile))
        .map_err(cannot_write)
}

fn cannot_write(error: std::io::Error) -> String {
    format!("cannot write the demo's repository: {error}")
}
