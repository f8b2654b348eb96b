"""
title: Broken
"""

import a_package_that_nobody_has


class Filter:
    pass
