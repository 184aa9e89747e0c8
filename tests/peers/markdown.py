"""Renders Markdown as forges do, with markdown-it-py: tables, HTML, autolinks.

Reads Markdown from standard input; prints as JSON the elements that there are,
and the text of each table's rows, cell by cell.
"""

import json
import sys
from html.parser import HTMLParser

from markdown_it import MarkdownIt


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.elements = set()
        self.rows = []
        self.cell = None

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


page = Page()
page.feed(MarkdownIt("gfm-like", {"html": True}).render(sys.stdin.read()))
page.close()
json.dump({"elements": sorted(page.elements), "rows": page.rows}, sys.stdout)
