//! Evaluating checkpoints and published weights.

use gnr_train::{EvalRequest, Split, eval};

use crate::support::{run, tiny};

#[test]
fn a_checkpoint_evaluates_to_what_its_run_reported() {
    let home = tempfile::tempdir().unwrap();
    let summary = run(tiny(&[]), home.path()).unwrap();
    let weights = home.path().join("checkpoints/last.safetensors");
    let of = |split| {
        eval(
            &EvalRequest { weights: weights.clone(), overrides: Vec::new(), split, class_map: None },
            |_, _| {},
        )
        .unwrap()
    };
    let test = of(Split::Test).evaluation;
    assert_eq!((test.accuracy, test.loss), (summary.test_accuracy, summary.test_loss));
    assert_eq!((test.images, test.classes.len()), (360, 10));
    assert_eq!(test.classes.iter().map(|class| class.correct).sum::<u64>(), test.correct);
    assert_eq!(Some(of(Split::Validation).evaluation.accuracy), summary.val_accuracy);
    assert_eq!(of(Split::Train).evaluation.images, 80);
}

#[test]
fn training_may_start_from_a_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    let before = run(tiny(&[]), &first).unwrap();
    let weights =
        format!("model.weights={:?}", first.join("checkpoints/last.safetensors").display().to_string());
    let after = run(tiny(&[&weights, "optimizer.lr=1e-9"]), &home.path().join("second")).unwrap();
    assert!((after.test_loss - before.test_loss).abs() < 1e-4, "{} {}", after.test_loss, before.test_loss);
    // A net of another shape loads with load = "matching" only, and only if something matches.
    let wider = [weights.as_str(), "model.widths=[16, 7]"];
    let error = run(tiny(&wider), &home.path().join("third")).unwrap_err().to_string();
    assert!(error.contains("last.safetensors") && error.contains("4.weight"), "{error}");
    assert!(!home.path().join("third").exists(), "nothing is left of a run that could not start");
    run(tiny(&[wider[0], wider[1], "model.load=matching"]), &home.path().join("fourth")).unwrap();
}
