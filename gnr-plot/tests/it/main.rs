//! Figures of every kind: what is drawn, what comes back as data, what is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use gnr_plot::{
    Axis, Content, Counts, Figure, Grid, Histogram, Lines, Mark, Panel, Route, Series, Style, Surface,
    Values, inline_svg, render,
};

fn grid() -> Grid {
    let places: Vec<f64> = (0..25).map(|i| f64::from(i) / 12.0 - 1.0).collect();
    let zs = places.iter().map(|y| places.iter().map(|x| 0.01 + x * x + 5.0 * y * y).collect()).collect();
    Grid {
        x: Axis::linear("first direction, α"),
        y: Axis::linear("second direction, β"),
        z: Axis::log("loss"),
        xs: places.clone(),
        ys: places,
        zs,
        routes: vec![Route { label: "SGD".into(), x: vec![0.8, 0.3, 0.0], y: vec![-0.7, 0.2, 0.0] }],
        marks: vec![Mark { x: 0.0, y: 0.0, text: "minimum".into() }],
    }
}

fn values(label: &str, values: &[f64]) -> Values {
    Values { label: label.into(), values: values.to_vec(), note: format!("{label}: n"), colour: None }
}

fn lines() -> Lines {
    let x: Vec<f64> = (0..=50).map(|i| f64::from(i) / 25.0 - 1.0).collect();
    let y: Vec<f64> = x.iter().map(|x| (-x * x / 0.1_f64).exp()).collect();
    Lines {
        x: Axis::linear("θ"),
        y: Axis::log("density, 1/λ").within(1e-4, 2.0),
        series: vec![
            Series::line("a, \"b\" & <c>", x.clone(), y.clone()),
            Series::line("dots", x, y).styled(Style::Both),
        ],
        marks: vec![Mark { x: 0.0, y: 1.0, text: "top".into() }],
    }
}

fn everything() -> Figure {
    let count = Counts {
        x: Axis::linear("local minima on a line"),
        y: Axis::linear("lines"),
        groups: vec![values("SAM", &[0.0, 1.0, 1.0, 2.0]), values("SAM + GNR", &[0.0, 0.0, 1.0])],
    };
    let histogram = Histogram {
        x: Axis::linear("eigenvalue, λ"),
        y: Axis::linear("number"),
        bins: 10,
        groups: vec![values("SGD", &[1.0, 2.0, 2.5, 9.0]), values("SAM", &[0.5, 1.0])],
    };
    let surface = Surface { grid: grid(), azimuth: -60.0, elevation: 30.0 };
    let contents = [
        Content::Lines(lines()),
        Content::Counts(count),
        Content::Histogram(histogram),
        Content::Contour(grid()),
        Content::Surface(surface),
    ];
    let mut figure = Figure::new("Everything", contents.map(|content| Panel::new("A panel", content)).into());
    figure.note = "Measured on nothing.".into();
    figure
}

/// The names of axes, groups and marks are there as text; markup in them is escaped.
#[test]
fn svg_has_its_words() {
    let svg = render(&everything()).unwrap().svg;
    for word in
        ["Everything", "eigenvalue, λ", "SAM + GNR", "minimum", "Measured on nothing.", "&lt;c&gt;", "10⁻²"]
    {
        assert!(svg.contains(word), "{word}");
    }
    assert!(svg.starts_with("<svg width=\"1216\"") && !svg.contains("NaN") && !svg.contains("inf"));
}

/// A PNG of twice the nominal size, not empty, small, and the same each time.
#[test]
fn png_is_a_picture() {
    let figure = everything();
    let (first, again) = (render(&figure).unwrap(), render(&figure).unwrap());
    assert!(first.png == again.png && first.svg == again.svg);
    let mut reader = png::Decoder::new(std::io::Cursor::new(&first.png)).read_info().unwrap();
    assert_eq!(reader.info().width, 2432);
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let different = pixels.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert!(different > 50 && first.png.len() < 400_000, "{different} colours, {} bytes", first.png.len());
}

#[test]
fn data_come_back() {
    let figure = everything();
    let drawn = render(&figure).unwrap();
    assert_eq!(serde_json::from_str::<Figure>(&drawn.json).unwrap(), figure);
    let rows: Vec<&str> = drawn.csv.lines().collect();
    assert_eq!(rows.len(), 1 + 2 * 51 + 7 + 6 + 2 * (625 + 3));
    assert_eq!(rows[1], "1,\"a, \"\"b\"\" & <c>\",-1,0.000045399929762484854,");
    assert!(
        rows.contains(&"3,SAM,0.5,,") && rows.contains(&"4,loss,0,0,0.01") && rows.contains(&"4,SGD,0,0,")
    );
}

#[test]
fn json_says_what_it_does_not_know() {
    let text = r#"{"title":"t","panels":[{"title":"","kind":"pie","values":[1]}]}"#;
    assert!(serde_json::from_str::<Figure>(text).unwrap_err().to_string().contains("pie"));
    let text = r#"{"title":"t","panels":[{"title":"p","kind":"lines","x":{"label":"x"},"y":{"label":"y"},
        "series":[{"label":"s","x":[0,1],"y":[1,2]}]}]}"#;
    let figure: Figure = serde_json::from_str(text).unwrap();
    assert!(render(&figure).unwrap().svg.contains(">\ns\n") || render(&figure).is_ok());
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let told = |content: Content| {
        render(&Figure::new("", vec![Panel::new("Here", content)])).unwrap_err().to_string()
    };
    let mut short = lines();
    short.series[1].y.pop();
    assert_eq!(told(Content::Lines(short)), "Here: series `dots` has 51 x and 50 y");
    let empty = Lines { series: vec![], ..lines() };
    assert!(told(Content::Lines(empty)).contains("nothing to draw"));
    let mut ragged = grid();
    ragged.zs[3].pop();
    assert!(told(Content::Contour(ragged)).contains("expected 25 of length 25"));
    let negative = Grid { zs: vec![vec![-1.0; 25]; 25], ..grid() };
    assert!(told(Content::Contour(negative)).contains("positive, on a log scale"));
    let backwards = Lines { x: Axis::linear("θ").within(1.0, 0.0), ..lines() };
    assert!(told(Content::Lines(backwards)).contains("from 1 to 0 is empty"));
    assert_eq!(render(&Figure::new("", vec![])).unwrap_err().to_string(), "a figure without panels");
}

/// Values that are not finite leave gaps, and nothing else.
#[test]
fn gaps_are_gaps() {
    let mut figure = everything();
    for panel in &mut figure.panels {
        match &mut panel.content {
            Content::Lines(lines) => lines.series[0].y[10] = f64::NAN,
            Content::Contour(grid) | Content::Surface(Surface { grid, .. }) => grid.zs[3][4] = f64::INFINITY,
            Content::Histogram(_) | Content::Counts(_) => {}
        }
    }
    let svg = render(&figure).unwrap().svg;
    assert!(!svg.contains("NaN") && !svg.contains("1000000"));
}

/// JSON has no NaN: a figure with gaps comes back with gaps, and draws the same picture.
#[test]
fn gaps_come_back() {
    let mut figure = everything();
    for panel in &mut figure.panels {
        match &mut panel.content {
            Content::Lines(lines) => {
                (lines.series[0].x[9], lines.series[0].y[10]) = (f64::NAN, f64::NAN);
                lines.series[1].band = vec![[f64::NAN, 1.0]; 51];
                lines.marks[0].y = f64::NAN;
            }
            Content::Contour(grid) | Content::Surface(Surface { grid, .. }) => {
                grid.zs[3][4] = f64::NAN;
                grid.routes[0].x[1] = f64::NAN;
            }
            Content::Histogram(histogram) => histogram.groups[0].values[1] = f64::NAN,
            Content::Counts(_) => {}
        }
    }
    let drawn = render(&figure).unwrap();
    assert!(drawn.json.contains("null") && !drawn.svg.contains("NaN") && !drawn.svg.contains("-2147483"));
    let again = render(&serde_json::from_str(&drawn.json).unwrap()).unwrap();
    assert!(again.json == drawn.json && again.svg == drawn.svg && again.png == drawn.png);
}

fn banded() -> Figure {
    let series = Series::line("mean", vec![1.0, 2.0, 3.0, 4.0], vec![2.0, 3.0, 4.0, 3.0])
        .banded(vec![[1.0, 3.0], [2.5, 3.5], [3.0, 9.0], [3.0, 3.0]])
        .painted([12, 34, 56]);
    let (x, y) = (Axis::linear("epoch"), Axis::linear("loss").within(0.0, 5.0));
    Figure::new("", vec![Panel::new("", Content::Lines(Lines { x, y, series: vec![series], marks: vec![] }))])
}

/// A band is a translucent area in the colour of its line, cut at the frame, and its edges are in the data.
#[test]
fn a_band_lies_around_its_line() {
    let drawn = render(&banded()).unwrap();
    let polygon = drawn.svg.lines().find(|line| line.starts_with("<polygon")).unwrap();
    assert!(polygon.contains("fill=\"#0C2238\"") && polygon.contains("opacity=\"0.15\""), "{polygon}");
    let points = polygon.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
    let heights: Vec<f64> =
        points.split_whitespace().map(|point| point.split(',').nth(1).unwrap().parse().unwrap()).collect();
    // The frame begins 12 nominal pixels below the upper edge and 18 of the legend, at 4 units each: what reaches above
    // is cut.
    assert_eq!(heights.iter().copied().fold(f64::MAX, f64::min), 120.0, "{points}");
    assert!(drawn.csv.contains("1,mean (lower),2,2.5,\n") && drawn.csv.contains("1,mean (upper),3,9,\n"));
    assert_eq!(serde_json::from_str::<Figure>(&drawn.json).unwrap(), banded());
    let mut figure = banded();
    if let Content::Lines(lines) = &mut figure.panels[0].content {
        lines.series[0].band.pop();
    }
    assert_eq!(
        render(&figure).unwrap_err().to_string(),
        "panel 1: series `mean` has 4 points and a band at 3"
    );
}

/// A gap in the band makes two areas.
#[test]
fn a_band_is_interrupted_where_it_has_no_place() {
    let mut figure = banded();
    if let Content::Lines(lines) = &mut figure.panels[0].content {
        lines.series[0].x.push(5.0);
        lines.series[0].y.push(3.0);
        lines.series[0].band.push([1.0, 2.0]);
        lines.series[0].band[2] = [f64::NAN, 4.0];
    }
    let svg = render(&figure).unwrap().svg;
    assert_eq!(svg.lines().filter(|line| line.starts_with("<polygon")).count(), 2);
}

/// On a page a figure has the page's colours: no white ground, no black ink.
#[test]
fn an_inline_figure_follows_the_page() {
    let mut figure = banded();
    if let Content::Lines(lines) = &mut figure.panels[0].content {
        let black = Series { colour: Some(6), ..Series::line("black", vec![1.0, 4.0], vec![1.0, 2.0]) };
        lines.series.push(black);
        lines.marks.push(Mark { x: 2.0, y: 3.0, text: "a mark".into() });
    }
    let svg = inline_svg(&figure).unwrap();
    assert!(svg.contains("currentColor") && svg.contains("#0C2238") && svg.contains("epoch"));
    assert!(svg.contains("opacity=\"0.85\" fill=\"Canvas\""), "the ground of the mark's words");
    for fixed in ["#FFFFFF", "#1E1E1E", "#6E6E6E", "#E1E1E1", "#3C3C3C"] {
        assert!(!svg.contains(fixed), "{fixed}");
    }
}
