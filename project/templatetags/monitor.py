"""Filters of the event monitor's pages."""

from django import template

from project.monitor.shown import up_to

register = template.Library()
register.filter("up_to", up_to)
