//! The folders of curvature: one process works in each at a time, and unfinished work of another kind stays.

use gnr_train::{
    TrainError,
    curvature::{CurvatureRequest, End, Method, SpectrumRequest, TraceMethod, TraceRequest, spectrum, trace},
    measure::{MeasureEvent, MeasureObserver},
};

use crate::curvature::{StopAfter, finished, go, subject, trained};

/// A refused request, or one that cannot go on from a state, leaves the state as it is.
#[test]
fn unfinished_work_of_another_kind_stays() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("run");
    trained(&net);
    let common = |name: &str, resume: bool| {
        let out = folder.path().join(name);
        CurvatureRequest { resume, ..CurvatureRequest::new(subject(&net), out) }
    };
    let state = |name: &str| std::fs::read(folder.path().join(name).join("state.safetensors")).unwrap();
    let eigenvalues = |name: &str, resume: bool, method: Method| {
        let stop = go();
        let request =
            SpectrumRequest { method, end: End::Dominant, ..SpectrumRequest::new(common(name, resume), 4) };
        spectrum(&request, &mut StopAfter(6, &stop), &stop).map(|_| ())
    };
    let estimate = |name: &str, resume: bool, method: TraceMethod, after: usize| {
        let stop = go();
        let request = TraceRequest { method, ..TraceRequest::new(common(name, resume)) };
        trace(&request, &mut StopAfter(after, &stop), &stop).map(|_| ())
    };
    let refused = |done: Result<(), TrainError>, words: &str| {
        let error = done.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    eigenvalues("a", false, Method::Lanczos).unwrap();
    let before = state("a");
    let words = "holds unfinished work of `gnr spectrum` by Lanczos; choose another --out";
    refused(eigenvalues("a", true, Method::Power), words);
    for (resume, method) in [(false, TraceMethod::Hutchinson), (true, TraceMethod::HutchPlusPlus)] {
        refused(estimate("a", resume, method, 6), words);
    }
    assert!(state("a") == before);

    estimate("b", false, TraceMethod::Hutchinson, 6).unwrap();
    let before = state("b");
    let words = "holds unfinished work of `gnr trace` by Hutchinson's estimator";
    refused(estimate("b", true, TraceMethod::Xtrace, 6), words);
    // A finished result of one kind does not decide about the state of another.
    std::fs::write(folder.path().join("b/spectrum.json"), "{}").unwrap();
    refused(eigenvalues("b", false, Method::Lanczos), "holds a finished spectrum.json");
    assert!(state("b") == before);
    estimate("b", true, TraceMethod::Hutchinson, usize::MAX).unwrap();
    assert!(
        folder.path().join("b/trace.json").is_file() && !folder.path().join("b/state.safetensors").exists()
    );
}

/// An observer that does something at every step.
struct Meanwhile<F>(F);

impl<F: FnMut() + Send> MeasureObserver for Meanwhile<F> {
    fn on_progress(&mut self, _: &MeasureEvent) {
        self.0();
    }
}

#[test]
fn a_folder_is_measured_in_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("run");
    trained(&net);
    let request = |end| SpectrumRequest {
        end,
        ..SpectrumRequest::new(CurvatureRequest::new(subject(&net), folder.path().join("a")), 1)
    };
    let mut refused = 0;
    let mut meanwhile = Meanwhile(|| {
        let second = spectrum(&request(End::Bottom), &mut (), &go());
        assert!(matches!(second, Err(TrainError::Locked { .. })), "{second:?}");
        refused += 1;
    });
    finished(spectrum(&request(End::Top), &mut meanwhile, &go()).unwrap());
    assert!(refused > 0);
}
