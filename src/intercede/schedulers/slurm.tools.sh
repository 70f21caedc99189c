# What Slurm's commands, and the jobs that sbatch queues, are not to find in the environment. shellcheck shell=sh

# ic_strangers: print the names of variables that would change what a job is, or what is answered; and, inside of a job, what
# Slurm set for that one, which is no copy's. What only chooses who pays and where it runs is the site's word, and stays.
ic_strangers() {
    env | while IFS='=' read -r ic_key _; do
        case $ic_key in
        *[!A-Za-z0-9_]*) ;;
        SBATCH_ACCOUNT | SBATCH_PARTITION | SBATCH_QOS | SBATCH_RESERVATION | SBATCH_WCKEY) ;;
        SBATCH_* | SQUEUE_* | SACCT_* | SCANCEL_* | SCONTROL_* | SLURM_CLUSTERS | SLURM_EXIT_ERROR | SLURM_HINT)
            printf '%s ' "$ic_key"
            ;;
        SLURM_CONF | SLURM_CONF_SERVER | SLURM_JWT | SLURM_SACK_*) ;; # how the controller is reached
        SLURM_* | SLURMD_* | SRUN_* | PMI_* | PMI2_* | PMIX_* | \
            CUDA_VISIBLE_DEVICES | GPU_DEVICE_ORDINAL | ROCR_VISIBLE_DEVICES | ZE_AFFINITY_MASK)
            [ -z "${SLURM_JOB_ID-}" ] || printf '%s ' "$ic_key"
            ;;
        esac
    done
}
ic_strange="$(ic_strangers)ic_none"

# ic_forget: take them away.
ic_forget() {
    for ic_key in $ic_strange; do
        unset "$ic_key"
    done
    unset ic_key
}
