//! Surveys of the loss around a run: compared with the loss itself, stopped and resumed, refused.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use gnr_train::{
    SubjectRequest, curvature,
    geometry::{
        Axes, GeometryRequest, LandscapeReport, LandscapeRequest, MinimaRequest, Scaling, SharpnessRequest,
        SmallTensors, landscape, minima, sharpness,
    },
    measure::{MeasureEvent, MeasureObserver, Measured},
};

use crate::support::{run, tiny};

/// Makes two runs of 3 epochs with BatchNorm that keep every epoch; the second has another seed.
fn runs(home: &Path) {
    for seed in [0, 1] {
        let seed_of = format!("train.seed={seed}");
        let sets = ["model.name=resnet8", "model.widths=[2,2,2]", "train.keep_every_epochs=1", &seed_of];
        run(tiny(&sets), &home.join(format!("run-{seed}"))).unwrap();
    }
}

fn common(home: &Path, out: &str) -> GeometryRequest {
    GeometryRequest { subject: SubjectRequest::new(home.join("run-0")), out: home.join(out) }
}

fn random(count: usize) -> Axes {
    Axes::Random { count, seed: 0, scaling: Scaling::Filter, small: SmallTensors::Fixed }
}

fn request(home: &Path, out: &str, axes: Axes, points: usize) -> LandscapeRequest {
    LandscapeRequest { common: common(home, out), axes, ranges: vec![], points: vec![points] }
}

fn survey(request: &LandscapeRequest) -> LandscapeReport {
    match landscape(request, &mut (), &AtomicBool::new(false)).unwrap() {
        Measured::Finished(report) => report,
        Measured::Interrupted { .. } => panic!("nobody asked to stop"),
    }
}

/// The training loss of a checkpoint, computed in another way: as the base of R_SAM.
fn loss(weights: &Path, out: &Path) -> f64 {
    let request = curvature::CurvatureRequest::new(SubjectRequest::new(weights), out);
    let request = curvature::TraceRequest {
        rule: gnr_hessian::Stopping { min_samples: 3, max_samples: 3, ..gnr_hessian::Stopping::default() },
        ..curvature::TraceRequest::new(request)
    };
    match curvature::trace(&request, &mut (), &AtomicBool::new(false)).unwrap() {
        Measured::Finished(report) => report.point.loss,
        Measured::Interrupted { .. } => panic!("nobody asked to stop"),
    }
}

/// An observer that counts points and stops after some.
struct Watch<'a> {
    points: usize,
    stop_at: usize,
    stop: &'a AtomicBool,
    last: Option<MeasureEvent>,
}

impl MeasureObserver for Watch<'_> {
    fn on_progress(&mut self, event: &MeasureEvent) {
        self.points += 1;
        if self.points == self.stop_at {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.last = Some(event.clone());
    }
}

/// A line between two checkpoints ends in their own losses, running statistics of BatchNorm included.
#[test]
fn a_line_between_checkpoints_ends_in_their_losses() {
    let home = tempfile::tempdir().unwrap();
    runs(home.path());
    let axes = Axes::Checkpoints { to: vec![home.path().join("run-1")] };
    let mut request = request(home.path(), "line", axes, 5);
    request.ranges = vec![Some([0.0, 1.0])];
    let report = survey(&request);
    let row = &report.losses[0];
    for (index, name) in [(0, "run-0"), (4, "run-1")] {
        let expected = loss(&home.path().join(name), &home.path().join(format!("trace-{name}")));
        let found = row[index].unwrap();
        assert!((found - expected).abs() < 1e-5 * expected, "{name}: {found} on the line, {expected} alone");
    }
    assert!(report.ys.is_empty() && report.labels == ["towards run-1"]);
    let csv = std::fs::read_to_string(home.path().join("line/landscape.csv")).unwrap();
    assert_eq!((csv.lines().next(), csv.lines().count()), (Some("x,loss"), 6));
}

/// A grid that is stopped anywhere and asked for again evaluates every point once, and gives equal results.
#[test]
fn no_point_is_evaluated_twice() {
    let home = tempfile::tempdir().unwrap();
    runs(home.path());
    let whole = survey(&request(home.path(), "whole", random(2), 3));
    let stopped = request(home.path(), "stopped", random(2), 3);
    let mut points = 0;
    for stop_at in [1, 4] {
        let stop = AtomicBool::new(false);
        let mut watch = Watch { points: 0, stop_at, stop: &stop, last: None };
        let outcome = landscape(&stopped, &mut watch, &stop).unwrap();
        points += watch.points;
        assert!(
            matches!(outcome, Measured::Interrupted { done, total: 9, resumable: true } if done == points),
            "{outcome:?}"
        );
        assert!(!home.path().join("stopped/landscape.json").exists());
    }
    let never = AtomicBool::new(false);
    let mut watch = Watch { points: 0, stop_at: usize::MAX, stop: &never, last: None };
    let Measured::Finished(resumed) = landscape(&stopped, &mut watch, &never).unwrap() else { panic!() };
    assert_eq!((points, watch.points), (5, 4));
    let event = watch.last.unwrap();
    assert_eq!((event.done, event.total, event.since.1), (9, 9, 4));
    assert_eq!(resumed.losses, whole.losses);
    for file in ["landscape.csv", "landscape.json"] {
        let bytes = |folder: &str| std::fs::read(home.path().join(folder).join(file)).unwrap();
        assert!(bytes("stopped") == bytes("whole"), "{file}");
    }
    // A finished survey gives its results again without an evaluation, and refuses another request.
    let mut watch = Watch { points: 0, stop_at: usize::MAX, stop: &never, last: None };
    landscape(&stopped, &mut watch, &never).unwrap();
    assert_eq!(watch.points, 0);
    let error = landscape(&request(home.path(), "stopped", random(2), 4), &mut (), &never).unwrap_err();
    assert!(error.to_string().contains("points of another request"), "{error}");
}

/// The origin is in the middle, the trajectory ends there, and its plane holds almost all of its way over three epochs.
#[test]
fn the_plane_of_a_trajectory() {
    let home = tempfile::tempdir().unwrap();
    runs(home.path());
    let report = survey(&request(home.path(), "way", Axes::Trajectory, 3));
    let epochs: Vec<u64> = report.trajectory.iter().map(|at| at.epoch).collect();
    assert_eq!(epochs, [0, 1, 2, 3]);
    let last = report.trajectory.last().unwrap();
    assert!(last.x.abs() < 1e-5 && last.y.abs() < 1e-5 && last.distance < 1e-4, "{last:?}");
    let explained = report.explained.unwrap();
    assert!(explained[0] >= explained[1] && explained[0] + explained[1] > 0.9, "{explained:?}");
    let inside = |values: &[f64], at: f64| values[0] <= at && at <= values[2];
    assert!(report.trajectory.iter().all(|at| inside(&report.xs, at.x) && inside(&report.ys, at.y)));

    run(tiny(&[]), &home.path().join("kept-nothing")).unwrap();
    let mut request = request(home.path(), "no-way", Axes::Trajectory, 3);
    request.common.subject.weights = home.path().join("kept-nothing");
    let error = landscape(&request, &mut (), &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("train.keep_every_epochs"), "{error}");
}

/// Along a saved eigenvector the loss is a parabola with the eigenvalue, near a point with a small gradient.
#[test]
fn eigenvectors_are_read() {
    let home = tempfile::tempdir().unwrap();
    run(
        tiny(&["train.precision=f64", "model.activation=tanh", "method.gnr=false", "train.epochs=30"]),
        &home.path().join("run-0"),
    )
    .unwrap();
    let spectrum = curvature::CurvatureRequest::new(
        SubjectRequest::new(home.path().join("run-0")),
        home.path().join("spectrum"),
    );
    let spectrum = curvature::SpectrumRequest {
        save: true,
        tolerance: 1e-6,
        ..curvature::SpectrumRequest::new(spectrum, 2)
    };
    let found = curvature::spectrum(&spectrum, &mut (), &AtomicBool::new(false)).unwrap();
    let Measured::Finished(found) = found else { panic!() };
    let file = home.path().join("spectrum/eigenvectors.safetensors");
    for rank in [0, 1] {
        let axes = Axes::Eigenvectors { file: file.clone(), ranks: vec![rank] };
        let mut request = request(home.path(), &format!("along-{rank}"), axes, 3);
        let h = 1e-3;
        request.ranges = vec![Some([-h, h])];
        let report = survey(&request);
        let [a, b, c] = report.losses[0][..] else { panic!() };
        let second = (a.unwrap() - 2.0 * b.unwrap() + c.unwrap()) / (h * h);
        let expected = found.pairs[rank].eigenvalue;
        // The fourth derivative and the rounding of 1e-16/h² change it by a part in ten thousand.
        assert!((second - expected).abs() < 1e-3 * expected, "{second} along rank {rank}, λ = {expected}");
    }
    let axes = Axes::Eigenvectors { file, ranks: vec![2] };
    let error = landscape(&request(home.path(), "none", axes, 3), &mut (), &AtomicBool::new(false));
    assert!(error.unwrap_err().to_string().contains("eigenvector.2."));
}

#[test]
fn minima_are_counted_on_every_grid() {
    let home = tempfile::tempdir().unwrap();
    runs(home.path());
    let request = MinimaRequest {
        directions: 3,
        steps: 5,
        refine: 4,
        radius: 2.0,
        resolutions: vec![0.0, 1e9],
        ..MinimaRequest::new(common(home.path(), "minima"))
    };
    let Measured::Finished(report) = minima(&request, &mut (), &AtomicBool::new(false)).unwrap() else {
        panic!()
    };
    assert_eq!((report.losses.len(), report.losses[0].len(), report.distances.len()), (3, 21, 21));
    let steps: Vec<(f64, f64)> = report.counted.iter().map(|c| (c.step, c.resolution)).collect();
    assert_eq!(steps, [(0.4, 0.0), (0.4, 1e9), (0.2, 0.0), (0.2, 1e9), (0.1, 0.0), (0.1, 1e9)]);
    for counted in &report.counted {
        let sum: usize = counted.directions.iter().map(|d| d.minima).sum();
        assert!((counted.mean_minima - sum as f64 / 3.0).abs() < 1e-12);
        assert!(counted.resolution == 0.0 || counted.mean_minima + counted.mean_maxima == 0.0);
    }
    // The loss at the end of a direction of norm 1, followed for 2, computed as a landscape.
    let axes = Axes::Random { count: 1, seed: 0, scaling: Scaling::Unit, small: SmallTensors::Fixed };
    let mut line = self::request(home.path(), "line", axes, 2);
    line.ranges = vec![Some([0.0, 2.0])];
    assert_eq!(survey(&line).losses[0][1], Some(report.losses[0][20]));
}

/// The bounds are consistent: R_GNR ≥ R_SAM as far as the searches show, more search finds no less, and nothing lies
/// outside of the ball.
#[test]
fn sharpness_bounds() {
    let home = tempfile::tempdir().unwrap();
    runs(home.path());
    let request = SharpnessRequest {
        rhos: vec![0.05, 0.2],
        steps: 3,
        starts: 2,
        ..SharpnessRequest::new(common(home.path(), "sharpness"))
    };
    let Measured::Finished(report) = sharpness(&request, &mut (), &AtomicBool::new(false)).unwrap() else {
        panic!()
    };
    assert_eq!(report.bounds.len(), 2 * 2 * 3);
    let of = |measure: &str, rho: f64, search: &str| {
        let same =
            |b: &&gnr_train::geometry::Bound| b.measure == measure && b.rho == rho && b.search == search;
        report.bounds.iter().find(same).unwrap()
    };
    for rho in [0.05, 0.2] {
        for measure in ["r_sam", "r_gnr"] {
            let [one, ascent, multi] = ["one-step", "ascent", "multi-start"].map(|s| of(measure, rho, s));
            assert!(ascent.lower_bound >= one.lower_bound * (1.0 - 1e-6), "{measure} at {rho}");
            assert!(multi.lower_bound >= ascent.lower_bound && one.lower_bound > 0.0);
            assert!(multi.distance <= rho * (1.0 + 1e-5) && multi.evaluations > 2 * ascent.evaluations);
        }
        assert_eq!(of("r_sam", rho, "multi-start").products, 0);
    }
    let none = SharpnessRequest { rhos: vec![0.0], ..request };
    assert!(sharpness(&none, &mut (), &AtomicBool::new(false)).is_err());
}

#[test]
fn impossible_requests_are_refused() {
    let home = tempfile::tempdir().unwrap();
    runs(home.path());
    let told = |request: &LandscapeRequest| {
        landscape(request, &mut (), &AtomicBool::new(false)).unwrap_err().to_string()
    };
    assert!(told(&request(home.path(), "a", random(3), 3)).contains("one or two directions"));
    assert!(told(&request(home.path(), "a", random(1), 1)).contains("1 points along a direction"));
    let same = Axes::Checkpoints { to: vec![home.path().join("run-0")] };
    assert!(told(&request(home.path(), "a", same, 3)).contains("the same weights"));
    let mut backwards = request(home.path(), "a", random(1), 3);
    backwards.ranges = vec![Some([1.0, -1.0])];
    assert!(told(&backwards).contains("from 1 to -1 is empty"));
    let mut biases = request(home.path(), "a", random(1), 3);
    biases.common.subject.layers = vec!["*.bias".into()];
    assert!(told(&biases).contains("nothing is left of the direction"));
    assert!(!home.path().join("a/points.jsonl").exists(), "nothing was begun");
}
