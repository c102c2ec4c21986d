//! How a version's sessions are made: as the settings say, else as its MLmodel does.
//!
//! MLflow keeps `onnx_session_options` with a model: ONNX Runtime's level of graph optimization, threads within and
//! between operators, and whether operators run beside each other (`mlflow/onnx/__init__.py`). They were chosen for a
//! process that has one session. Here a short call runs on its worker, of which there is one per core, so threads of
//! its own would take the cores of the others: there the options' threads are not used, and the level is. A long call
//! runs in the version's lane, and there they are, within what the machine has.
//!
//! Invariant: no session has more threads than the machine has cores, unless `execution.threads` says so.

use super::mlflow::SessionOptions;
use crate::config::ExecutionSettings;
use crate::engine::{LoadOptions, Optimization};
use std::num::NonZeroUsize;

/// How sessions are made, by where their calls run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    /// On the worker that read the request.
    pub(super) on_workers: LoadOptions,
    /// In the version's lane.
    pub(super) in_lane: LoadOptions,
}

/// How sessions of a version are made. `said` is what its MLmodel says.
pub(super) fn sessions(said: &SessionOptions, settings: &ExecutionSettings, cores: NonZeroUsize) -> Sessions {
    // What is not ONNX Runtime's is passed over like any other odd value in the file. Its 3 is a part of 99 that older
    // releases do not know by this number.
    let optimization = match said.graph_optimization_level {
        Some(0) => Optimization::Off,
        Some(1) => Optimization::Basic,
        Some(2) => Optimization::Extended,
        _ => Optimization::All,
    };
    // Zero is ONNX Runtime's word for as many as it likes, which is what it gets here when nothing is said: one.
    let of = |threads: Option<u64>| threads.and_then(|threads| NonZeroUsize::new(usize::try_from(threads).ok()?));
    let within = |threads: NonZeroUsize, most: NonZeroUsize| threads.min(most);
    let configured = settings.threads.and_then(NonZeroUsize::new);
    let asked = of(said.intra_op_num_threads).map(|threads| within(threads, cores));
    let threads = configured.or(asked).unwrap_or(NonZeroUsize::MIN);
    let left = NonZeroUsize::new(cores.get() / threads).unwrap_or(NonZeroUsize::MIN);
    let parallel = match said.execution_mode.as_deref() {
        Some(mode) if mode.eq_ignore_ascii_case("parallel") => {
            of(said.inter_op_num_threads).map_or(left, |threads| within(threads, left))
        }
        _ => NonZeroUsize::MIN,
    };
    Sessions {
        on_workers: LoadOptions { optimization, ..LoadOptions::default() },
        in_lane: LoadOptions { threads, parallel, optimization, ..LoadOptions::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(intra: Option<u64>, inter: Option<u64>, mode: Option<&str>) -> SessionOptions {
        SessionOptions {
            graph_optimization_level: None,
            intra_op_num_threads: intra,
            inter_op_num_threads: inter,
            execution_mode: mode.map(str::to_owned),
        }
    }

    /// Threads within and between operators in the lane, with eight cores.
    fn threads(said: &SessionOptions, configured: Option<usize>) -> (usize, usize) {
        let settings = ExecutionSettings { threads: configured, ..ExecutionSettings::default() };
        let made = sessions(said, &settings, NonZeroUsize::new(8).unwrap());
        assert_eq!((made.on_workers.threads.get(), made.on_workers.parallel.get()), (1, 1));
        (made.in_lane.threads.get(), made.in_lane.parallel.get())
    }

    #[test]
    fn nothing_said_a_session_has_one_thread_and_every_optimization() {
        let made = sessions(&SessionOptions::default(), &ExecutionSettings::default(), NonZeroUsize::MIN);
        assert_eq!(made, Sessions::default());
        assert_eq!(made.in_lane.optimization, Optimization::All);
    }

    #[test]
    fn levels_are_those_of_the_runtime_and_others_are_passed_over() {
        let level = |level: u64| {
            let said = SessionOptions { graph_optimization_level: Some(level), ..SessionOptions::default() };
            let made = sessions(&said, &ExecutionSettings::default(), NonZeroUsize::MIN);
            assert_eq!(made.on_workers.optimization, made.in_lane.optimization);
            made.in_lane.optimization
        };
        use Optimization::{All, Basic, Extended, Off};
        assert_eq!([0, 1, 2, 3, 99, 7].map(level), [Off, Basic, Extended, All, All, All]);
    }

    #[test]
    fn threads_are_those_that_were_asked_for_within_the_machine() {
        assert_eq!(threads(&said(Some(4), None, None), None), (4, 1));
        assert_eq!(threads(&said(Some(64), Some(64), None), None), (8, 1), "operators one after the other");
        assert_eq!(threads(&said(Some(0), None, Some("sequential")), None), (1, 1));
        assert_eq!(threads(&said(Some(2), None, Some("parallel")), None), (2, 4));
        assert_eq!(threads(&said(Some(2), Some(2), Some("PARALLEL")), None), (2, 2));
        assert_eq!(threads(&said(Some(8), Some(8), Some("parallel")), None), (8, 1));
        assert_eq!(threads(&said(Some(u64::MAX), Some(u64::MAX), Some("parallel")), None), (8, 1));
    }

    #[test]
    fn the_settings_come_first() {
        assert_eq!(threads(&said(Some(4), None, None), Some(1)), (1, 1));
        assert_eq!(threads(&said(None, None, None), Some(16)), (16, 1));
        assert_eq!(threads(&said(Some(4), Some(8), Some("parallel")), Some(2)), (2, 4));
    }
}
