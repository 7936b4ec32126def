//! The effect of a recipe's method on the steps of a run.

use std::sync::atomic::AtomicBool;

use gnr_train::{Existing, Summary, check, train};

use crate::support::{Watch, bytes, run, tiny};

/// Numbers of steps, gradients and products, with gradients and products in tenths.
fn tenths(sets: &[&str]) -> (u64, u64, u64) {
    let home = tempfile::tempdir().unwrap();
    let Summary { steps, gradient_evaluations, products, .. } = run(tiny(sets), home.path()).unwrap();
    let [gradients, products] = [gradient_evaluations, products].map(|count| (10.0 * count).round() as u64);
    (steps, gradients, products)
}

/// Numbers of steps, gradients and products, which must be whole.
fn counts(sets: &[&str]) -> (u64, u64, u64) {
    let (steps, gradients, products) = tenths(sets);
    assert!(gradients.is_multiple_of(10) && products.is_multiple_of(10), "{sets:?}: {gradients} {products}");
    (steps, gradients / 10, products / 10)
}

/// The number of forward passes, which are counted separately.
fn forwards(sets: &[&str]) -> u64 {
    let home = tempfile::tempdir().unwrap();
    run(tiny(sets), home.path()).unwrap().forward_passes
}

/// ESAM computes the losses ahead and the gradient of some examples. SAF has the outputs of the step's own pass, MESA
/// those of its average.
#[test]
fn methods_that_look_at_examples_cost_what_they_say() {
    let alone = |more: &str| {
        [&["method.gnr=false"][..], &[more]].concat().iter().map(|&s| s.to_owned()).collect::<Vec<_>>()
    };
    let cost = |more: &str| {
        let sets = alone(more);
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        (tenths(&sets), forwards(&sets))
    };
    // ESAM takes the gradient ahead of half of the examples.
    assert_eq!(cost("method.esam=true"), ((15, 150 + 75, 0), 15));
    // Epochs 2 and 3 compare with the epoch before.
    assert_eq!(cost("method.saf={epochs=1, from_epoch=0}"), ((15, 250, 0), 0));
    assert_eq!(cost("method.mesa.from_epoch=1"), ((15, 250, 0), 10));
    assert_eq!(cost("method.sam=true"), ((15, 300, 0), 0));
    // Of groups of 5, 5, 5 and 1 image the halves are 2, 2, 2 and 1: 0.55 of a group in the mean.
    let grouped = ["method.gnr=false", "method.esam=true", "method.group=5"];
    let (steps, gradients, products) = tenths(&grouped);
    assert!(steps == 15 && (232..=233).contains(&gradients) && products == 0, "{gradients}");
    assert_eq!(forwards(&grouped), 15);
}

/// SAF's penalty is 0 where every output equals that of the epoch before, and grows with the learning rate. Epochs of
/// watching change nothing.
#[test]
fn saf_compares_an_image_with_itself() {
    let epochs = |sets: &[&str]| {
        let home = tempfile::tempdir().unwrap();
        let mut watch = Watch::default();
        let mut all = vec!["method.gnr=false"];
        all.extend(sets);
        train(tiny(&all), home.path(), Existing::Refuse, &mut watch, &AtomicBool::new(false)).unwrap();
        watch.epochs
    };
    let saf = "method.saf={epochs=1, from_epoch=1}";
    let moved =
        |lr: &str| epochs(&[saf, lr, "optimizer.momentum=0", "schedule.name=constant"])[1].penalties["saf"];
    let [still, slow, fast] = ["optimizer.lr=1e-12", "optimizer.lr=0.001", "optimizer.lr=0.01"].map(moved);
    // Outputs in single precision differ by a few ulps at most, and KL is of second order in the difference.
    assert!(still.abs() < 1e-9, "images are compared with others: {still}");
    assert!(slow > 1e-7 && fast > 10.0 * slow, "{slow} and {fast}");
    let (plain, watching) = (epochs(&[]), epochs(&[saf]));
    assert_eq!((plain[0].test_loss, plain[0].grad_norm), (watching[0].test_loss, watching[0].grad_norm));
    assert!(plain[1].test_loss != watching[1].test_loss);
}

#[test]
fn what_remembers_images_is_not_for_blends() {
    let sets = ["method.saf.from_epoch=1", "data.mixup=0.4"].map(str::to_owned);
    let error = gnr_train::Recipe::parse("tiny.toml", "tiny", crate::support::TINY, &sets).unwrap_err();
    assert!(error.to_string().contains("not together with data.mixup"), "{error}");
}

/// SASSHA's Hessian is taken at SAM's point, which is evaluated once for both.
#[test]
fn sassha_shares_the_point_of_sam() {
    let sassha = ["method.gnr=false", "optimizer.name=sassha", "optimizer.hessian_every=5"];
    let with = |more: &[&'static str]| [&sassha[..], more].concat();
    assert_eq!(counts(&sassha), (15, 15, 3), "three estimates at θ, whose record is the step's own");
    assert_eq!(counts(&with(&["method.sam.rho=0.2"])), (15, 30, 3), "at SAM's point: its gradient is shared");
    assert_eq!(counts(&with(&["method.sam.rho=0.2", "optimizer.hessian_at=theta"])), (15, 30, 3));
    let bits = |more: &[&'static str]| {
        let home = tempfile::tempdir().unwrap();
        run(tiny(&with(more)), home.path()).unwrap();
        bytes(home.path(), "last.safetensors")
    };
    let theta = ["method.sam.rho=0.2", "optimizer.hessian_at=theta"];
    assert!(bits(&["method.sam.rho=0.2"]) != bits(&theta), "the point makes no difference");
}

#[test]
fn each_method_costs_what_it_says() {
    // 80 images (100, less 20 for validation) in batches of 16: 5 steps an epoch, 3 epochs.
    assert_eq!(counts(&["method.gnr=false"]), (15, 15, 0));
    assert_eq!(counts(&["method.gnr=false", "method.sam=true"]), (15, 30, 0));
    assert_eq!(counts(&[]), (15, 30, 30), "the step's gradient and one at θ_adv; two products");
    assert_eq!(counts(&["method.gnr.hvp=forward-difference"]), (15, 60, 0));
    assert_eq!(counts(&["method.gnr.hvp=central-difference"]), (15, 90, 0));
    assert_eq!(counts(&["method.gnr.hvp=gauss-newton"]), (15, 30, 30), "Gauss–Newton products are products");
    // Each product evaluates the micro-batches again.
    assert_eq!(counts(&["method.gnr.hvp=gauss-newton", "train.micro_batches=2"]), (15, 60, 30));
    assert_eq!(counts(&["method.gnr=false", "method.sam=true", "train.micro_batches=2"]), (15, 30, 0));
    assert_eq!(counts(&["method.gnr.every=5"]), (15, 18, 6));
    // On a sample, the gradient at θ is computed in addition to the batch's. A quarter of the batch counts as that.
    assert_eq!(tenths(&["method.gnr.batch_fraction=0.25"]), (15, 150 + 75, 75));
    assert_eq!(tenths(&["method.gnr.batch_fraction=0.25", "train.micro_batches=2"]), (15, 150 + 150, 75));
    let tenth = ["method.gnr.hvp=forward-difference", "method.gnr.batch_fraction=0.5", "method.gnr.every=5"];
    assert_eq!(counts(&tenth), (15, 15 + 3 * 4 / 2, 0));
    assert_eq!(counts(&["method.sam=true"]), (15, 45, 30));
    // The regulariser acts from epoch 2 on: ten of the fifteen steps.
    assert_eq!(counts(&["method.gnr.from_epoch=1"]), (15, 15 + 10, 20));
    assert_eq!(counts(&["method.gnr=false", "method.sam.from_epoch=2"]), (15, 15 + 5, 0));
    assert_eq!(counts(&["method.gnr.from_epoch=1", "method.gnr.every=5"]), (15, 15 + 2, 4));
    // Batches of 16 in groups of 5, 5, 5 and 1 cost equally many gradients of a batch.
    assert_eq!(counts(&["method.gnr=false", "method.sam=true", "method.group=5"]), (15, 30, 0));
    assert_eq!(counts(&["method.group=5"]), (15, 30, 30));
    assert_eq!(tenths(&["method.group=5", "method.gnr.batch_fraction=0.25"]), (15, 150 + 75, 75));
    let shared = ["method.sam.rho=0.001", "method.gnr.hvp=forward-difference", "method.gnr.step=0.001"];
    assert_eq!(counts(&shared), (15, 60, 0), "SAM and the difference share a gradient");
}

/// Before its epoch a regulariser does nothing: the first epochs equal those of training without it, bit for bit.
#[test]
fn a_late_phase_starts_after_its_epochs() {
    let epochs = |sets: &[&str]| {
        let home = tempfile::tempdir().unwrap();
        let mut watch = Watch::default();
        train(tiny(sets), home.path(), Existing::Refuse, &mut watch, &AtomicBool::new(false)).unwrap();
        watch.epochs
    };
    let plain = epochs(&["method.gnr=false"]);
    let late = epochs(&["method.gnr.from_epoch=1", "method.sam.from_epoch=2", "method.sam.rho=0.1"]);
    assert_eq!((plain[0].test_loss, plain[0].grad_norm), (late[0].test_loss, late[0].grad_norm));
    assert!(plain[1].test_loss != late[1].test_loss);
    let acted: Vec<Vec<&str>> =
        late.iter().map(|epoch| epoch.penalties.keys().map(String::as_str).collect()).collect();
    assert_eq!(acted, [vec![], vec!["gnr"], vec!["gnr", "sam"]]);
}

#[test]
fn learning_rates_follow_the_schedule() {
    let rates = |sets: &[&str]| {
        let home = tempfile::tempdir().unwrap();
        let mut watch = Watch::default();
        let mut all = vec!["method.gnr=false", "train.epochs=4", "optimizer.lr=0.08"];
        all.extend(sets);
        train(tiny(&all), home.path(), Existing::Refuse, &mut watch, &AtomicBool::new(false)).unwrap();
        watch.steps.iter().map(|step| step.learning_rate).collect::<Vec<_>>()
    };
    // 5 steps an epoch, 20 in all.
    assert_eq!(rates(&["schedule.name=constant"]), [0.08; 20]);
    let step = rates(&["schedule.name=step", "schedule.milestones=[1, 3]", "schedule.factor=0.5"]);
    assert_eq!((step[4], step[5], step[14], step[15]), (0.08, 0.04, 0.04, 0.02));
    let warm = rates(&["schedule.warmup_epochs=1", "schedule.name=step", "schedule.every_epochs=2"]);
    assert!(warm[..5].windows(2).all(|pair| pair[0] < pair[1]) && warm[4] < 0.08);
    assert_eq!(warm[5], 0.08);
    // Drops stay at their epoch, with a warm-up or without.
    assert_eq!(warm[9], 0.08);
    assert!((warm[10] - 0.008).abs() < 1e-15);
    let root = rates(&["schedule.name=inverse-sqrt"]);
    assert_eq!(root[3], 0.04, "1/√4");
}

#[test]
fn micro_batches_are_the_batch() {
    // Without BatchNorm the mean over parts is the mean over the batch, up to rounding: 1e-9 in f64 after 15 steps.
    let losses = |sets: &[&str]| {
        let home = tempfile::tempdir().unwrap();
        let smooth = ["train.precision=f64", "method.sam=true", "model.activation=tanh"];
        run(tiny(&[sets, &smooth].concat()), home.path()).unwrap().test_loss
    };
    let (whole, parts) = (losses(&["train.micro_batches=1"]), losses(&["train.micro_batches=3"]));
    assert!((whole - parts).abs() < 1e-9, "{whole} {parts}");
    let gauss_newton = |parts| losses(&["method.gnr.hvp=gauss-newton", parts]);
    let (other, parts) = (gauss_newton("train.micro_batches=1"), gauss_newton("train.micro_batches=3"));
    assert!((other - parts).abs() < 1e-9, "{other} {parts}");
    assert!((other - whole).abs() > 1e-6, "G is not the Hessian of a net of tanh: {other} {whole}");
}

/// The tensors of a run's last checkpoint, compared without the header, because that contains the recipe.
fn last_tensors(sets: &[&str]) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    run(tiny(sets), home.path()).unwrap();
    let bytes = bytes(home.path(), "last.safetensors");
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

/// A group of the whole batch equals the batch, BatchNorm and dropout included. Smaller groups make another method,
/// unless nothing depends on the batch as a whole.
#[test]
fn groups_are_perturbed_on_their_own() {
    let model = ["model.name=resnet8", "model.widths=[2,2,2]", "train.epochs=1", "method.sam=true"];
    for model in [&model[..], &["model.dropout=0.3", "method.gnr.hvp=forward-difference", "train.epochs=1"]] {
        let with = |set| last_tensors(&[model, &[set]].concat());
        let whole = last_tensors(model);
        assert!(with("method.group=16") == whole && with("method.group=1000") == whole, "{model:?}");
        assert!(with("method.group=8") != whole, "{model:?}");
    }
    let loss = |sets: &[&str]| {
        let home = tempfile::tempdir().unwrap();
        let smooth = ["train.precision=f64", "model.activation=tanh", "method.gnr=false"];
        run(tiny(&[&smooth, sets].concat()), home.path()).unwrap().test_loss
    };
    // Plain gradients of a net without BatchNorm: sums in another order, over 15 steps.
    let (plain, grouped) = (loss(&[]), loss(&["method.group=1"]));
    assert!((plain - grouped).abs() < 1e-9, "{plain} {grouped}");
    let (sam, grouped) = (loss(&["method.sam=true"]), loss(&["method.sam=true", "method.group=1"]));
    assert!((sam - grouped).abs() > 1e-6, "{sam} {grouped}");
}

/// One image on a map of 1×1 cannot be normalised. It is refused before the first step, with the layer and the keys.
#[test]
fn pieces_of_one_image_are_refused_where_maps_are_one_pixel() {
    let net = ["model.name=resnet8", "model.widths=[2,2,2]", "train.epochs=1", "data.resize.height=4"];
    let started = |sets: &[&str]| {
        let home = tempfile::tempdir().unwrap();
        let recipe = tiny(&[&net, sets].concat());
        let checked = check(recipe.clone()).map_err(|error| error.to_string());
        let folder = home.path().join("run");
        let ran = run(recipe, &folder).map_err(|error| error.to_string());
        assert_eq!(checked.err(), ran.as_ref().err().cloned());
        assert_eq!(folder.exists(), ran.is_ok(), "nothing is left of a run that could not start");
        ran
    };
    // The last group has one image: 16 = 3·5 + 1.
    let error = started(&["method.group=5"]).unwrap_err();
    assert!(error.starts_with("train.batch_size = 16, method.group = 5 leave one image"), "{error}");
    assert!(error.contains("`layer3.0.bn1`") && error.contains("one value a channel"), "{error}");
    let error = started(&["method.group=4", "method.gnr.batch_fraction=0.25"]).unwrap_err();
    assert!(error.contains("method.gnr.batch_fraction = 0.25 leave one image"), "{error}");
    let error = started(&["train.micro_batches=16"]).unwrap_err();
    assert!(error.contains("train.micro_batches = 16 leave one image"), "{error}");
    // ⌊0.12·16⌋ is 1, and of half of the batch any number may lie in one of two micro-batches.
    let error = started(&["method.esam=true", "method.esam.gamma=0.12"]).unwrap_err();
    assert!(error.contains("method.esam.gamma = 0.12 leave one image"), "{error}");
    let error = started(&["method.esam=true", "train.micro_batches=2"]).unwrap_err();
    assert!(error.contains("train.micro_batches = 2, method.esam.gamma = 0.5 leave one image"), "{error}");
    started(&["method.esam=true"]).unwrap();
    started(&["method.group=8"]).unwrap();
    // With images of 8×8 the smallest maps are 2×2. Frozen layers do not normalise by the batch.
    started(&["method.group=5", "data.resize.height=8"]).unwrap();
    started(&["method.group=5", "model.freeze=backbone"]).unwrap();
}

#[test]
fn loader_threads_change_no_bit() {
    let model = ["model.name=resnet8", "model.widths=[4,4,8]", "train.epochs=1"];
    let with = |set| last_tensors(&[&model[..], &[set]].concat());
    assert!(with("train.workers=0") == with("train.workers=3"));
}
