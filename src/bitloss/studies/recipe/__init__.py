"""From measured sensitivities of tensors to a recipe for a size, made and measured.

groups     tensors that get a type together, and what each type costs in bytes
knapsack   the types that lose least within a size, exactly
exports    the recipe in the words of llama.cpp, GPTQModel, AutoRound and llm-compressor
result     ``OUT/recipe/<model>/recipe.json``
tables     the result as plain tables and sentences
run        all of it
"""

from bitloss.studies.recipe.result import RecipeResult
from bitloss.studies.recipe.run import recipe_study

__all__ = ["RecipeResult", "recipe_study"]
