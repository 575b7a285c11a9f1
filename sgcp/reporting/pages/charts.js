// Draw every chart of the page. As SVG, whose text and lines take the page's colours by its style.
for (const place of document.querySelectorAll(".chart[data-chart]")) {
  const specification = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  vegaEmbed(place, specification, { actions: false, renderer: "svg", tooltip: { theme: "custom" } })
    .catch((error) => {
      place.textContent = "This chart could not be drawn; the table below holds its numbers.";
      console.error(error);
    });
}
