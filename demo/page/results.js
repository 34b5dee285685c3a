// results.js : classes and scores, as bars for one image and as a table for many

const SHOWN = 10;

const cell = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

export function best(scores) {
    return scores.indexOf(Math.max(...scores));
}

export function bars(parent, classes, scores) {
    const order = classes.map((_, index) => index);
    if (classes.length > SHOWN) order.sort((a, b) => scores[b] - scores[a]).splice(SHOWN);
    const least = Math.min(...scores), span = Math.max(1, Math.max(...scores) - least);
    parent.className = "scores";
    parent.replaceChildren(...order.map((index) => {
        const row = document.createElement("div");
        row.className = index === best(scores) ? "score best" : "score";
        const track = document.createElement("div"), fill = document.createElement("div");
        track.className = "track";
        fill.className = "fill";
        fill.style.width = `${(100 * (scores[index] - least)) / span}%`;
        track.append(fill);
        const value = cell("span", scores[index].toLocaleString("en"));
        value.className = "value";
        row.append(cell("span", classes[index]), track, value);
        return row;
    }));
}

// `results` holds {image, found, scores} of shipped images, compared with the golden model's scores.
export function table(parent, network, results) {
    const labels = network.labels;
    const equal = results.filter(({ image, scores, found }) =>
        scores.every((score, index) => score === network.golden[image][index]) && found === best(network.golden[image]));
    const right = labels ? results.filter(({ image, found }) => found === labels[image]) : [];
    const head = document.createElement("tr");
    head.append(...["image", ...(labels ? ["label"] : []), "class", "scores"].map((name) => cell("th", name)));
    const rows = results.map(({ image, found, scores }) => {
        const row = document.createElement("tr");
        row.append(cell("td", image), ...(labels ? [cell("td", network.classes[labels[image]])] : []),
            cell("td", network.classes[found] ?? found), cell("td", scores.join(" ")));
        return row;
    });
    const whole = document.createElement("table");
    whole.append(head, ...rows);
    const details = document.createElement("details");
    details.append(cell("summary", "all results"), whole);
    parent.replaceChildren(details);
    return { equal: equal.length, right: labels ? right.length : null };
}

// What the result of one image is, and whether the golden model's is the same: [text, class for the style sheet].
export function verdict(network, picture, found, scores) {
    const text = `${network.classes[found] ?? found}, score ${scores[found].toLocaleString("en")}`;
    if (picture.index === null) return [text, ""];
    const golden = network.golden[picture.index];
    const equal = found === best(golden) && scores.every((score, index) => score === golden[index]);
    return equal ? [`${text}; class and scores equal the golden model's`, "good"] : [`${text}; the golden model differs`, "bad"];
}
